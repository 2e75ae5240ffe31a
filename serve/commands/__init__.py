"""What the commands do: options in, a document out; and the commands of db, runs and miniature themselves."""
