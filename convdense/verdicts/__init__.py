"""What a check may say: one finding a quantity, with the words, the comparison and the JSON.

* `comparison`: two arrays compared: equal, within the bound of each entry, or wrong
* `findings`: Finding, and what every report and certificate shares
* `schema`: the schema number of the JSON, and how older schemas are read
"""

from convdense.verdicts.findings import Finding

__all__ = ["Finding"]
