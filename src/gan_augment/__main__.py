"""`python -m gan_augment` is `gan-augment`."""

from gan_augment.app import main

if __name__ == "__main__":
    main()
