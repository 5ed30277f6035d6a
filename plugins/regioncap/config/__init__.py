"""What a run may choose, and what the deployment decides.

`settings`    the params of a run: one declaration for form, help, bounds and checks
`extras`      what a run may add to every request
`locks`       what of a param the deployment fixes or bounds
`deployment`  the `REGIONCAP_*` variables
`prices`      what the deployment pays for asking
"""
