"""The functions of the commands: options in, a document out."""
