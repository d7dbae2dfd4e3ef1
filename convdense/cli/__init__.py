"""The command line, one file a command.

* `_main`: main: the commands, and what ends them
* `exit_status`: 0, 1 or 2
* `layer_options`: options that describe a layer
* `import_object`: module:object, imported
* `show`: convdense show
* `explain`: convdense explain
* `explore`: convdense explore
* `matrix`: convdense matrix
* `certify`: convdense certify
* `claims`: convdense certify --claims
* `demo`: convdense demo
"""

from convdense.cli._main import main

__all__ = ["main"]
