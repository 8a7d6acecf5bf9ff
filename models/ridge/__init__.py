"""The linear baseline of fMRI: ridge regression from voxels to image embeddings."""
