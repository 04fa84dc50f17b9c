"""Where samples stand: axes and the layout of tensors. Sizes only, never a tensor."""
