"""What every folder uses and that knows nothing of convolutions.

* `arguments`: validate an argument, or say what came, what is needed and what to do
* `deprecation`: old names and places, which work for one release and warn
* `files`: atomic writes; .npy, .npz and .mtx
* `float_formats`: every dtype of floats: bits, unit roundoff, the dtype that holds them
* `frozen`: frozen objects, which stay so in copies and pickles
* `version`: the version, in one place
"""
