"""ADD A FRAMEWORK HERE: one file each, with one class that is always called ``EpochCallback``.

An adapter translates its framework's hooks into calls of an `epochwidget.Run` and does nothing else. It imports
`epochwidget.run` and its framework, never a sibling and never the widget. ``tests/callbacks/contract.py`` says what a
new one has to do.
"""
