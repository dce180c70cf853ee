"""The commands of `cxr-explain`: parse, call, print."""
