"""``python -m napari_medsam2``: the command line, as torchrun wants to start it."""

from napari_medsam2.cli import main

if __name__ == "__main__":
    main()
