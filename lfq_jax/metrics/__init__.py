"""AUROC, AP, F1 and PRO of anybody's anomaly maps. numpy only."""
