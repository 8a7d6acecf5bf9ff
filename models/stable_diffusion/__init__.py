"""Stable Diffusion as people have it: one generator family for 1.x, 2.x, XL, turbo and LCM.

`parts` reads a folder or a file, `plans` turns its scheduler into steps of `models.sampling`,
`generation` binds conditions to the U-Net and draws, `adapters` holds the IP-Adapters, `live`
stands behind the ports. See docs/models/stable_diffusion.md.
"""
