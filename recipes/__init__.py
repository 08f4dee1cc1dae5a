"""The stages that wire codec, slm and eval: run from the checkout's root, never installed."""
