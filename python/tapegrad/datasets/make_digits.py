"""Makes digits.npz, the data behind datasets.load_digits(), from scikit-learn's copy of the UCI data.

    pip install scikit-learn
    python make_digits.py [OUT]

Source: E. Alpaydin and C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
https://doi.org/10.24432/C50P49, licence CC BY 4.0. The 1,797 images are the repository's file optdigits.tes: 32x32
bitmaps reduced to 8x8 by counting the black pixels in each 4x4 block (0..16). Nothing is changed but the container:
uint8 arrays `images` (1797, 8, 8) and `labels` (1797,). The same input gives the same bytes.
"""

import sys
import zipfile
from pathlib import Path

import numpy as np


def main(path: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    arrays = {"images": digits.images.astype(np.uint8), "labels": digits.target.astype(np.uint8)}
    assert (arrays["images"] == digits.images).all() and arrays["images"].max() == 16
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(
                f"{name}.npy", date_time=(1998, 7, 1, 0, 0, 0)
            )  # fixed: np.savez would write today's
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("digits.npz"))
