"""The reports for people, of a bundle (`bundle`) and of a run (`run`): one self-contained HTML file each.

Nothing here reads a clock, a file of the bundle or the network: a report is a function of its arguments. The
templates, the style and the script stand beside the modules; what a page may do is said by its
Content-Security-Policy, which names style and script by their hashes and allows nothing else.
"""
