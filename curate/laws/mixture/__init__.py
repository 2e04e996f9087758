"""Laws of mixtures: the loss of a model as a function of the shares of the pools that it is trained on."""
