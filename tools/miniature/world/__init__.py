"""The world that the embedded checkpoint draws: scenes, their pictures and their captions."""
