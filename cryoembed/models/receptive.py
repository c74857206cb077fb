"""How far a voxel of the output sees, and which tile starts keep the grid: what a tiler must know (torch-free)."""

from __future__ import annotations

from cryoembed.models.config import BackboneConfig, VoxelNetworkConfig

Interval = tuple[int, int]  # first and last index read, along one axis


def total_stride(config: VoxelNetworkConfig) -> int:
    """Return the stride of the coarsest map: tiles must start at its multiples."""
    return config.backbone.strides[-1]


def receptive_field_halo(config: VoxelNetworkConfig, *, heads: bool = True) -> int:
    """Return the exact theoretical halo in voxels: no output voxel reads an input voxel further away, on either side.

    Parameters
    ----------
    config
        The network; strides, blocks, upsampling and (if it has any and they are wanted) heads count.
    heads
        False for the embedding alone, which sees a little less than the heads do.
    """
    with_heads = heads and bool(config.heads)
    reach = 0
    for voxel in range(total_stride(config)):  # the field depends on where a voxel lies between the coarse ones
        first, last = _field(voxel, config.backbone, with_heads=with_heads)
        reach = max(reach, voxel - first, last - voxel)
    return reach


def _field(voxel: int, backbone: BackboneConfig, *, with_heads: bool) -> Interval:
    wanted = (voxel, voxel)
    if backbone.stem_stride == 2:
        wanted = _upsampled_from(wanted)
    if with_heads:
        wanted = _convolved_from(_convolved_from(wanted))
    first, last = voxel, voxel
    for stage in range(len(backbone.blocks)):
        low, high = _backbone_field(wanted, stage, backbone)
        first, last = min(first, low), max(last, high)
        wanted = _upsampled_from(wanted)
    return first, last


def _backbone_field(wanted: Interval, stage: int, backbone: BackboneConfig) -> Interval:
    for index in range(stage, -1, -1):
        for _ in range(2 * backbone.blocks[index] - 1):
            wanted = _convolved_from(wanted)
        wanted = _convolved_from(wanted, stride=1 if index == 0 else 2)
    return _convolved_from(wanted, stride=backbone.stem_stride, kernel=backbone.stem_kernel)


def _convolved_from(wanted: Interval, *, stride: int = 1, kernel: int = 3) -> Interval:
    return wanted[0] * stride - kernel // 2, wanted[1] * stride + kernel // 2


def _upsampled_from(wanted: Interval) -> Interval:
    # align_corners=False: fine 2k lies between coarse k-1 and k, fine 2k+1 between k and k+1
    return (wanted[0] - 1) // 2, (wanted[1] + 1) // 2
