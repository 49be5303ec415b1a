"""gan-augment: will GAN-made images make my classifier better, by how much, at what cost, and how sure are you?"""
