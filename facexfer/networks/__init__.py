"""What is done with a whole network: embed a data set, settle its BatchNorm, fold it, average its weights."""
