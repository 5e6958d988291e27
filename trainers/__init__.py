"""How an architecture is trained and what it costs.

* `corpora` text in a training and a validation part; `tokenizer` and `tokens` the text as numbers
* `recipe` how a model is trained; `language_model` the training itself; `checkpoint` its state on disk
* `measure` speed against the reference, in turn; `memory` peak memory; `machine` the device and its name
"""
