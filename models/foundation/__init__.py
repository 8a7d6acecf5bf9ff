"""Published encoders that were pretrained on much EEG, as feature extractors.

Owns the networks in the layouts that their authors published, reading them, and the features of
an epoch. What is learnt from the features for one person is `models.adapters`' business.
"""
