"""What runs on the host. Never imported by what runs inside an image (`stages.workload`), nor the other way round."""
