"""PatchCore on a frozen backbone, measured like the main job."""
