"""DPO-Diff (Wang et al. 2024): search over synonyms, antonyms and negatives for the words that make a picture follow its prompt."""
