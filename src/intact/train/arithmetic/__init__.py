"""The arithmetic of training: products in a fixed order, passes through programs, and sums of gradients as integers."""
