"""What is trained: LightningModules, and the function that trains each into a stage's folder."""
