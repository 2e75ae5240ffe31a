"""The methods that search for or learn a better Conditioning."""
