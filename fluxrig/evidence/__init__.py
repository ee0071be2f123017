"""What proves that a message is in the audit store as it was written: Merkle trees, signatures, proofs."""

from fluxrig.evidence.keys import PUBLIC_NAME, PublicKeys, SigningKey
from fluxrig.evidence.merkle import inclusion_path, leaf_hash, root, root_of_path
from fluxrig.evidence.proof import Place, Proof, Proven, place_bytes, signed, unsigned

__all__ = [
    "PUBLIC_NAME",
    "Place",
    "Proof",
    "Proven",
    "PublicKeys",
    "SigningKey",
    "inclusion_path",
    "leaf_hash",
    "place_bytes",
    "root",
    "root_of_path",
    "signed",
    "unsigned",
]
