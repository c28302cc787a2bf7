"""The five shapes of sequence problems, each with a small model, on numbers and their names.

    python examples/sequence_shapes.py          # trains five models in a few seconds

Each takes a few lines: items, a model, fit, use.
"""

from itertools import product

import torch
from torch.nn.functional import cross_entropy, one_hot

from fastrnn.train import Step, fit
from fastrnn.train.data import Bucketed, Captioned, Labelled, Pairs, Tagged, Vocabulary
from fastrnn.train.data.made.numerals import english, french
from fastrnn.train.models import Captioner, Classifier, EncoderDecoder, Tagger
from fastrnn.train.models.columns import Columns
from fastrnn.train.models.encoders import DenseEncoder

NUMBERS = range(20)
VECTORS = one_hot(torch.tensor(NUMBERS)).float()  # numbers without names
ENGLISH, FRENCH = ([name(number) for number in NUMBERS] for name in (english, french))
PARITY = ("even", "odd")


def characters(texts):
    return Vocabulary.build(texts, tokenizer="characters", unknown=None, bos="<bos>", eos="<eos>")


def learn(model, items, into, epochs, **options):
    fit(model, Bucketed(items, 64, into=into, **options), epochs=epochs, lr=0.01, clip=1.0, progress=False)
    return model


def one_to_one(epochs=100):
    """A vector to a class, without a sequence. fit trains any module with a loss function."""

    def loss(model, batch, state):
        return Step(cross_entropy(model(batch.input), batch.target), len(batch.target))

    model = torch.nn.Linear(len(NUMBERS), 2)
    batch = Labelled(VECTORS, None, torch.tensor(NUMBERS) % 2)
    fit(model, [batch], epochs=epochs, lr=0.1, loss=loss, progress=False)
    return 7, PARITY[int(model(VECTORS[7]).argmax())], "odd"


def one_to_many(epochs=100):
    """A vector to a sequence: the number's name, letter by letter."""
    letters = characters(ENGLISH)
    model = Captioner(letters, DenseEncoder(len(NUMBERS), output=64), cell="gru", hidden=64)
    items = [(vector, letters.encode(name, ends=True)) for vector, name in zip(VECTORS, ENGLISH, strict=True)]
    learn(model, items, Captioned, epochs)
    return 7, model.caption(VECTORS[7]), "seven"


def many_to_one(epochs=60):
    """A sequence to a class: the letters of a name to the number."""
    letters = characters(ENGLISH)
    model = Classifier(letters, [str(number) for number in NUMBERS], cell="gru", hidden=64, embedding=16)
    learn(model, [(letters.encode(name), number) for number, name in enumerate(ENGLISH)], Labelled, epochs)
    return "seven", model.classify("seven")[0][0], "7"


def many_to_many(epochs=120):
    """A sequence to another one, written after the first is read: English to French."""
    source, target = characters(ENGLISH), characters(FRENCH)
    model = EncoderDecoder(source, target, cell="gru", hidden=64, embedding=16)
    items = [(source.encode(e), target.encode(f, ends=True)) for e, f in zip(ENGLISH, FRENCH, strict=True)]
    learn(model, items, Pairs, epochs)
    return "seven", model.translate("seven"), "sept"


def many_to_many_in_step(epochs=80):
    """A sequence to another one, step by step: the parity of the ones so far."""
    bits = ["".join(each) for length in range(1, 8) for each in product("01", repeat=length)]
    columns = Columns.build([[list(text)] for text in bits], given=("bit",), spelling=())
    model = Tagger(columns, PARITY, cell="gru", hidden=32, embedding=8, bidirectional=False, crf=False)
    items = [(columns.encode([list(text)]), [text[: i + 1].count("1") % 2 for i in range(len(text))]) for text in bits]
    learn(model, items, Tagged, epochs, columns=True)
    text = "1101000111"  # longer than any in training
    answer = " ".join(tag for _, tag in model.tag(list(text)))
    return text, answer, " ".join(PARITY[text[: i + 1].count("1") % 2] for i in range(len(text)))


SHAPES = {
    "one to one": one_to_one,
    "one to many": one_to_many,
    "many to one": many_to_one,
    "many to many": many_to_many,
    "many to many, in step": many_to_many_in_step,
}


def main():
    """Returns for each shape the question, the model's answer and the right answer."""
    torch.set_num_threads(1)  # such small models are faster with one
    answers = {}
    for name, shape in SHAPES.items():
        torch.manual_seed(0)
        answers[name] = asked, answered, _ = shape()
        print(f"{name:22} {asked} → {answered}")
    return answers


if __name__ == "__main__":
    main()
