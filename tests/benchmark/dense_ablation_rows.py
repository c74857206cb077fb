"""The rows of the thesis' tables 1 to 5: what each changes in the base settings, and the Dice that was published for it."""

from __future__ import annotations

SAMPLES = (  # small ones, in which every class occurs
    "stream.shape=[64, 128, 128]",
    "stream.envelope.thickness_nm=[30, 56]",
    "stream.vesicles=[0, 0]",
    "stream.membranes=[{kind: sphere, count: [1, 1], radius: [150, 300]}, {kind: flat, count: [0, 1]}]",
    "stream.filaments=[{kind: microtubule, count: [1, 2]}, {kind: actin, count: [3, 8]}]",
    "stream.chains=[{kind: dna, count: [8, 16], length: [800, 3000]}]",
)
UNMASKED = ("augment.mask_probability=0",)
NOISELESS = (*UNMASKED, "augment.noise_probability=0")
ROWS: dict[str, tuple[str, ...]] = {
    "base": (),
    "none": (*NOISELESS, "augment.low_pass_probability=0", "augment.high_pass_probability=0"),
    "low_pass": (*NOISELESS, "augment.high_pass_probability=0"),
    "low_high_pass": NOISELESS,
    "noise": UNMASKED,
    **{
        f"mask_{p}": ("augment.mask_probability=1", f"augment.mask_fraction=[{p / 100}, {p / 100}]")
        for p in (10, 25, 50, 75, 90)
    },
    **{f"voxel_{dim}": (f"network.voxel_dim={dim}",) for dim in (8, 16, 32)},
    **{f"global_{dim}": (f"network.global_dim={dim}",) for dim in (128, 512, 1024)},
    "dense": ("network.global_dim=0", "network.level_losses=[]"),
    "dense_global": ("network.level_losses=[]",),
    "levels_4": ("network.level_losses=[2, 4]",),
    "levels_8": ("network.level_losses=[2, 4, 8]",),
}
UNTRAINED = "untrained"
FLOORS = ("voxels", UNTRAINED)  # no network: the voxel and the mean around it; the base's with random weights
COLUMNS = ("background", "membrane", "microtubule", "particle", "actin", "dna", "all")
TABLES: dict[str, dict[str, tuple[str, tuple[float, ...]]]] = {  # label: our row, and the thesis' Dice by `COLUMNS`
    "table 1, transformations": {
        "none": ("none", (0.835, 0.000, 0.000, 0.525, 0.000, 0.003, 0.302)),
        "low-pass": ("low_pass", (0.614, 0.000, 0.000, 0.562, 0.016, 0.299, 0.286)),
        "low-pass, high-pass": ("low_high_pass", (0.900, 0.000, 0.000, 0.599, 0.000, 0.374, 0.378)),
        "low-pass, high-pass, noise": ("noise", (0.873, 0.255, 0.000, 0.604, 0.027, 0.328, 0.416)),
    },
    "table 2, masked voxels": {
        "0 %": ("noise", (0.860, 0.236, 0.166, 0.589, 0.000, 0.351, 0.431)),
        "10 %": ("mask_10", (0.856, 0.000, 0.087, 0.532, 0.000, 0.302, 0.363)),
        "25 %": ("mask_25", (0.832, 0.203, 0.000, 0.542, 0.000, 0.252, 0.376)),
        "50 %": ("mask_50", (0.870, 0.000, 0.000, 0.615, 0.000, 0.384, 0.379)),
        "75 %": ("mask_75", (0.531, 0.161, 0.235, 0.484, 0.030, 0.132, 0.286)),
        "90 %": ("mask_90", (0.147, 0.017, 0.013, 0.406, 0.013, 0.306, 0.153)),
    },
    "table 3, voxel embedding": {
        "8-d": ("voxel_8", (0.841, 0.000, 0.000, 0.567, 0.000, 0.254, 0.349)),
        "16-d": ("voxel_16", (0.808, 0.000, 0.240, 0.556, 0.033, 0.202, 0.367)),
        "32-d": ("voxel_32", (0.000, 0.137, 0.010, 0.526, 0.000, 0.301, 0.175)),
        "64-d": ("base", (0.887, 0.252, 0.210, 0.620, 0.056, 0.411, 0.466)),
    },
    "table 4, global embedding": {
        "128-d": ("global_128", (0.000, 0.184, 0.007, 0.603, 0.044, 0.298, 0.205)),
        "256-d": ("base", (0.904, 0.000, 0.000, 0.674, 0.000, 0.537, 0.416)),
        "512-d": ("global_512", (0.859, 0.000, 0.000, 0.594, 0.000, 0.288, 0.364)),
        "1024-d": ("global_1024", (0.888, 0.000, 0.000, 0.635, 0.000, 0.393, 0.389)),
    },
    "table 5, losses": {
        "dense": ("dense", (0.000, 0.020, 0.095, 0.422, 0.015, 0.212, 0.132)),
        "+ global": ("dense_global", (0.701, 0.270, 0.202, 0.613, 0.039, 0.313, 0.402)),
        "+ L2": ("base", (0.891, 0.000, 0.342, 0.616, 0.113, 0.428, 0.452)),
        "+ L4": ("levels_4", (0.879, 0.000, 0.000, 0.619, 0.000, 0.308, 0.375)),
        "+ L8": ("levels_8", (0.000, 0.000, 0.256, 0.413, 0.000, 0.292, 0.159)),
    },
}
PUBLISHED_BUDGET = (
    "ResNet-10 of width 64, pyramid 128; 60 tomograms in crops of 128^3 with half overlap (25,600 from all 400 tomograms), "
    "600 epochs of batches of 10; head on 48, Dice on 12 tomograms"
)
