"""Published potential files of peers, found in the folder that the environment variable ETN_GPU_POTENTIALS names.

Its layout is that of `mvl_models/pes` in github.com/materialsvirtuallab/maml (BSD-3-Clause) as far as it is used here:

    mlearn2020/Mo/mtp/fitted.mtp                          Y. Zuo et al., J. Phys. Chem. A 124, 731 (2020)
    mlearn2020/Mo/{snap,qsnap}/SNAPotential.snap{coeff,param}
    NbMoTaW/mtp.2021.08/quaternary.mtp                    S. Yin et al., Nat. Commun. 12, 4873 (2021)
    NbMoTaW/snap.2020.06/Ta-W-Nb-Mo.snap{coeff,param}     X.-G. Li et al., npj Comput. Mater. 6, 70 (2020)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peers.environments import PEERS, Peer, PeerError

#: The published MTP of Mo is of level 20; its tables hold all lower levels.
LEVEL_20 = "mlearn2020/Mo/mtp/fitted.mtp"
MO = ("Mo",)
NBMOTAW = ("Nb", "Mo", "Ta", "W")


@dataclass(frozen=True)
class Published:
    """Published files for ``species``, which ``peer`` can run."""

    label: str
    peer: Peer
    species: tuple[str, ...]
    files: tuple[str, ...]

    def potential(self) -> dict[str, Any]:
        """What the runner of the peer wants to know.

        Raises:
            PeerError: a file is not there.
        """
        files = [str(find(name)) for name in self.files]
        own = {"file": files[0]} if self.peer.name == "motep" else {"style": "snap", "files": files}
        return {"species": self.species, **own}


def find(name: str) -> Path:
    """The path of a published file.

    Raises:
        PeerError: ETN_GPU_POTENTIALS is not set, or the file is not there.
    """
    folder = os.environ.get("ETN_GPU_POTENTIALS")
    if not folder:
        raise PeerError(f"set ETN_GPU_POTENTIALS to the folder that holds {name}")
    path = Path(folder).resolve() / name
    if not path.is_file():
        raise PeerError(f"ETN_GPU_POTENTIALS has no file {name}")
    return path


def _snap(folder: str, stem: str) -> tuple[str, str]:
    return f"{folder}/{stem}.snapcoeff", f"{folder}/{stem}.snapparam"


PUBLISHED = (
    Published("MTP level 20, Zuo 2020", PEERS["motep"], MO, (LEVEL_20,)),
    Published("SNAP 2J=6, Zuo 2020", PEERS["lammps"], MO, _snap("mlearn2020/Mo/snap", "SNAPotential")),
    Published("qSNAP 2J=6, Zuo 2020", PEERS["lammps"], MO, _snap("mlearn2020/Mo/qsnap", "SNAPotential")),
    Published("MTP level 14, Yin 2021", PEERS["motep"], NBMOTAW, ("NbMoTaW/mtp.2021.08/quaternary.mtp",)),
    Published("SNAP 2J=6, Li 2020", PEERS["lammps"], NBMOTAW, _snap("NbMoTaW/snap.2020.06", "Ta-W-Nb-Mo")),
)
