"""diagnose: the mistake in a user's code, named.

* `_diagnose`: diagnose
* `report`: Diagnosis, Explanation
* `complex_numbers`: what is conjugated wrongly
* `search`: the order in which explanations are tried
* `mistake_pairs`: two mistakes at once
* `localise`: errors in some cells, samples or channels
* `first_difference`: the first wrong edge; the matrix of what no mistake explains
"""
