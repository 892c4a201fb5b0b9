"""The 2019 article's job: cats and dogs, transfer learning with fastai."""
