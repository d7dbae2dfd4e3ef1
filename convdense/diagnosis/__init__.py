"""diagnose: the mistake in a user's code, named.

* `_diagnose`: diagnose
* `report`: Diagnosis, Explanation
* `draws`: what code gives on integers that are drawn for it
* `smaller`: smaller layers on which code is still wrong
* `complex_numbers`: what is conjugated wrongly
* `narrow_numbers`: what saturates, wraps around or is rounded another way
* `rounded_results`: right sums that are rounded
* `between_calls`: sums never set to 0, results exchanged
* `behaviour`: what a certificate says beside the numbers
* `wrong_entries`: which entries are wrong, in one sentence
* `search`: the order in which explanations are tried
* `mistake_pairs`: two mistakes at once
* `localise`: errors in some cells, samples or channels
* `first_difference`: the first wrong edge; the matrix of what no mistake explains
"""
