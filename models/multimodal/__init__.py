"""The multimodal system (seed 002): one ATM-S encoder, five priors, five image adapters."""
