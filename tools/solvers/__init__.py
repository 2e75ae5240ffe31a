"""The methods that search or learn a better Conditioning."""
