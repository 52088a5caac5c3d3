"""The tiny models of `support.folders` by name: one for each thing that architectures do differently."""

from support.variants import dense, gemma, latent, mixtures, pictures, recurrent
from support.variants.form import Variant

VARIANTS: dict[str, Variant] = {
    **dense.VARIANTS,
    **gemma.VARIANTS,
    **pictures.VARIANTS,
    **mixtures.VARIANTS,
    **latent.VARIANTS,
    **recurrent.VARIANTS,
}
