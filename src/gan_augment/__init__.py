"""gan-augment: will GAN-made images make my classifier better, by how much, at what cost, and how sure are you?"""

import os

# Before torch is imported: large tensors take huge pages on Linux. Else clearing their memory, page by page, can take
# half as long as computing with it.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
