import json
from dataclasses import replace

import numpy as np
import pytest

from malles_env.consumers import Consumers
from malles_env.consumers.discussion import TranscriptFile, load_cast, read_transcript
from malles_env.consumers.discussion.reading import read_vote
from malles_env.consumers.language.base import Reply, Sampling
from malles_env.errors import CorruptFile, InvalidInput, LanguageModelError, MissingResource
from malles_env.scenarios import load_scenario
from malles_env.scenarios.consumer_kinds.discussion import discussion_consumers, only_segment
from tests.consumers.discussion.models import first_offer, permuted, short_cast, tiny

WHOLESALE = load_scenario("wholesale")


def two_segments(**settings):
    whole = discussion_consumers(WHOLESALE, tiny(), cast=short_cast(), **settings)
    return replace(whole, personas=whole.personas[:2])


@pytest.fixture(scope="module")
def talked(tmp_path_factory):
    """One offer to two segments, talked over for three rounds."""
    file = tmp_path_factory.mktemp("talk") / "talk.jsonl"
    turns = []
    consumers = two_segments(transcript=file, watch=lambda discussion, turn: turns.append(turn))
    offer = first_offer(WHOLESALE, 2)
    return consumers, offer, consumers.respond(offer), file, turns


def test_answers_are_distributions_and_loyalty_moves_with_them(talked):
    consumers, offer, response, _, _ = talked
    assert isinstance(consumers, Consumers)
    np.testing.assert_allclose(response.probability.sum(-1), 1.0, atol=1e-9)
    assert (response.probability > 0).all()
    assert (response.quantity >= 1).all() and (response.quantity <= 20).all()
    np.testing.assert_allclose(response.loyalty.sum(-1), 1.0, atol=1e-9)
    stayed = response.probability[..., :1] * offer.loyalty[..., 1:]
    np.testing.assert_allclose(response.loyalty[..., 1:], response.probability[..., 1:] + stayed)


def test_rounds_are_blind_notes_proposals_and_votes(talked):
    *_, turns = talked
    assert [turn.form for turn in turns] == ["note"] * 6 + ["proposal"] * 6 + ["ballot"] * 6
    assert all(len(turn.named) in (1, 2) for turn in turns if turn.form == "proposal")
    assert all(turn.quantity in (1, 2, 3, 4, 6, 8, 12, 20) for turn in turns if turn.form == "ballot")
    assert all(len(turn.said.split()) <= 5 for turn in turns)  # four words and three dots


def test_transcripts_can_be_read(talked):
    _, _, response, file, turns = talked
    lines = list(read_transcript(file))
    assert [line["cast"] for line in lines] == ["wholesale", "wholesale"]
    assert [turn["role"] for turn in lines[0]["turns"][:3]] == ["dealer", "customer service", "manufacturer"]
    assert sum(len(line["turns"]) for line in lines) == len(turns)
    assert lines[0]["verdict"]["probability"]["N"] == pytest.approx(response.probability[0, 0, 0])
    assert list(lines[0]["shelf"].values()) != [product.title for product in WHOLESALE.products]  # an order of its own


def test_the_order_of_products_plays_no_part(talked):
    consumers, offer, response, _, _ = talked
    order = np.array([3, 1, 7, 0, 2, 6, 5, 4])
    turned = replace(consumers, sheets=[consumers.sheets[j] for j in order], transcript=None)
    again = turned.respond(permuted(offer, order))
    np.testing.assert_allclose(again.probability[..., 1:], response.probability[..., 1 + order], atol=1e-6)
    np.testing.assert_allclose(again.quantity, response.quantity[..., order], atol=1e-5)


def test_what_is_not_on_the_shelf_is_not_bought():
    consumers = two_segments(rounds=1)
    offer = first_offer(WHOLESALE, 2)
    available = np.ones((2, 8), dtype=bool)
    available[0, [1, 4]] = False
    available[1] = False
    both = {name: np.repeat(getattr(offer, name), 2, axis=0) for name in ("prices", "mean_field", "loyalty")}
    response = consumers.respond(replace(offer, available=available, **both))
    assert (response.probability[0][:, [2, 5]] == 0).all() and (response.probability[0][:, 1] > 0).all()
    assert (response.probability[1, :, 0] == 1).all()
    np.testing.assert_allclose(response.loyalty[1], offer.loyalty[0])


def test_a_market_can_be_played_with_them():
    consumers = discussion_consumers(WHOLESALE, tiny(), cast=short_cast(), rounds=0)
    market = WHOLESALE.market(consumers=consumers, demand="expected")
    listed = np.array([product != "corvane_foam" for product in WHOLESALE.product_ids])
    outcome = market.step(WHOLESALE.catalog().regular_price[None], listed)
    assert np.isfinite(outcome.seller_profit).all() and outcome.units.sum() > 0


def test_slices_are_bounded_and_differ_by_role():
    from malles_env.consumers.discussion.prompts import role_prompt

    consumers = discussion_consumers(WHOLESALE, tiny())
    table, cast = consumers.tables(first_offer(WHOLESALE))[0], consumers.cast
    slices = [role_prompt(cast, role, cast.phase(1), table).shared for role in cast.roles]
    assert len(set(slices)) == 3
    assert all(len(text) <= cast.slice_characters + 200 for text in slices)  # codes, quotes and the header
    assert "30 days net" in slices[0] and "30 days net" not in slices[1] + slices[2]
    assert all(f"\n{code}: " in slices[0] for code in "ABCDEFGH")


def test_the_first_round_hears_nobody_and_the_moderator_hears_all(talked):
    from malles_env.consumers.discussion.prompts import role_prompt, verdict_prompt

    consumers, offer, *_ = talked
    table = consumers.tables(offer)[0]
    consumers._talk().hold([table])
    cast = consumers.cast
    assert "What was said" not in role_prompt(cast, cast.roles[0], cast.phase(1), table).own
    assert role_prompt(cast, cast.roles[0], cast.phase(3), table).own.count("\n- ") == 3
    assert verdict_prompt(cast, table).own.count("\n- ") == 9


def test_what_a_model_keeps_changes_no_answer_and_spares_reading():
    """Equal offers get equal answers, to the last digit, though the model kept what it read for the first."""
    answers, spared = [], []
    for memory in (0, 50):
        model = tiny(reading_memory=memory)
        consumers = only_segment(discussion_consumers(WHOLESALE, model, cast=short_cast(), rounds=2), 0)
        offer = first_offer(WHOLESALE, 1)
        first, again = consumers.respond(offer), consumers.respond(offer)
        np.testing.assert_array_equal(first.probability, again.probability)
        np.testing.assert_array_equal(first.quantity, again.quantity)
        answers.append(first)
        spared.append(model.usage.shared_tokens / model.usage.prompt_tokens)
    np.testing.assert_allclose(answers[0].probability, answers[1].probability, atol=1e-5)
    assert spared[1] > spared[0] + 0.2


def test_several_shelf_orders_are_averaged():
    offer = first_offer(WHOLESALE, 2)
    one, two = two_segments(rounds=0), two_segments(rounds=0, orders=2)
    both = two.respond(offer).probability
    np.testing.assert_allclose(both.sum(-1), 1.0, atol=1e-9)
    assert not np.allclose(both, one.respond(offer).probability)
    flipped = [t.discussion.shelf for k in range(2) for t in two.tables(offer, turn=k)[:1]]
    assert next(iter(flipped[0].values())) == list(flipped[1].values())[4]


class Faulty:
    """A real model whose words are replaced, as a bad server would."""

    def __init__(self, text="", share=1.0):
        self.inner, self.text, self.share = tiny(), text, share
        self.name, self.identity, self.usage = "faulty", "faulty", self.inner.usage

    def label_log_probabilities(self, prompts, labels):
        return self.inner.label_log_probabilities(prompts, labels) + np.log(self.share)

    def complete(self, prompts, sampling: Sampling):
        return [replace(reply, text=self.text) for reply in self.inner.complete(prompts, sampling)]


@pytest.mark.parametrize(
    ("model", "rounds", "words"),
    [
        (Faulty(""), 1, "no role said a word"),
        (Faulty('{"product": "A", "quantity": 1'), 3, "breaks its JSON schema"),
        (Faulty("fine", share=0.5), 0, "no distribution"),
    ],
)
def test_a_failure_is_raised_and_nothing_is_kept(model, rounds, words, tmp_path):
    consumers = only_segment(
        discussion_consumers(WHOLESALE, model, cast=short_cast(), rounds=rounds, transcript=tmp_path / "t.jsonl"), 0
    )
    with pytest.raises(LanguageModelError, match=words):
        consumers.respond(first_offer(WHOLESALE, 1))
    assert not (tmp_path / "t.jsonl").exists()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"product": "Z", "quantity": 1, "reason": ""}', '{"product": "A", "quantity": 5, "reason": ""}'],
)
def test_votes_that_break_the_schema_are_refused(text):
    consumers = discussion_consumers(WHOLESALE, tiny())
    table = consumers.tables(first_offer(WHOLESALE))[0]
    with pytest.raises(LanguageModelError, match="breaks its JSON schema"):
        read_vote(tiny(), consumers.cast, consumers.cast.phase(3), table, Reply(text, True, 1, 1))


class Recorded(Faulty):
    """A real model whose samplings are kept."""

    def complete(self, prompts, sampling: Sampling):
        self.sampling = sampling
        return self.inner.complete(prompts, sampling)


def test_the_longest_vote_that_a_schema_allows_is_not_cut():
    model = Recorded()
    consumers = only_segment(discussion_consumers(WHOLESALE, model, rounds=3), 0)
    talk, tables = consumers._talk(), consumers.tables(first_offer(WHOLESALE, 1))
    talk.play_round(3, consumers.cast.phase(3), tables)
    longest = model.sampling.schema["properties"]["reason"]["maxLength"]
    vote = json.dumps({"reason": ("15, " * longest)[:longest], "product": "A", "quantity": 20}, indent=1)
    assert len(model.inner.wording.tokenizer.encode(vote)) <= model.sampling.max_tokens


@pytest.mark.parametrize(
    "content",
    [
        b"my diary, without a line break",
        b"one\ntwo\nthree",
        b"one\ntwo\n",
        b"\n",
        b'{"check": "1"}\n{"format": 1',
        b'{"format": 1, "data": [1, 2]}',
        b'{"format": 1, "data": [1, 2]}\n{"format',
        bytes(range(256)),
    ],
)
def test_a_file_of_something_else_is_left_as_it_is(content, tmp_path):
    file = tmp_path / "mine.txt"
    file.write_bytes(content)
    for attempt in (lambda: TranscriptFile(file), lambda: two_segments(transcript=file)):
        with pytest.raises(CorruptFile, match=r"mine\.txt"):
            attempt()
        assert file.read_bytes() == content


@pytest.mark.parametrize("rest", [b"", b"{", b'{"form', b'{"format": 1, "model": "tin'])
def test_a_cut_transcript_is_mended(rest, tmp_path):
    from malles_env.consumers.discussion.transcript import Discussion

    file = tmp_path / "talk.jsonl"
    TranscriptFile(file, {"model": "x"}).add([Discussion("a", {})])
    whole = file.read_bytes()
    file.write_bytes(whole + rest)
    TranscriptFile(file)
    assert file.read_bytes() == whole
    file.write_bytes(rest)
    TranscriptFile(file)
    assert file.read_bytes() == b""


def test_a_transcript_survives_a_kill_and_tells_damage(tmp_path):
    from malles_env.consumers.discussion.transcript import Discussion

    file = tmp_path / "t.jsonl"
    TranscriptFile(file, {"model": "m"}).add([Discussion("a", {"A": "x"}), Discussion("b", {"A": "x"})])
    with file.open("a") as grown:
        grown.write('{"format": 1, "tur')  # a kill in the middle of a line
    assert [line["buyer"] for line in read_transcript(file)] == ["a", "b"]
    TranscriptFile(file).add([Discussion("c", {"A": "x"})])
    assert [line["buyer"] for line in read_transcript(file)] == ["a", "b", "c"]
    file.write_text(file.read_text().replace('"buyer": "b"', '"buyer": b'))
    with pytest.raises(CorruptFile, match="line 2"):
        list(read_transcript(file))
    with pytest.raises(MissingResource):
        list(read_transcript(tmp_path / "none.jsonl"))


@pytest.mark.skipif(not __import__("os").path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_named(tmp_path):
    from malles_env.consumers.discussion.transcript import Discussion

    (tmp_path / "full.jsonl").symlink_to("/dev/full")
    transcript = TranscriptFile.__new__(TranscriptFile)
    transcript.path, transcript.about = tmp_path / "full.jsonl", {}
    with pytest.raises(InvalidInput, match="cannot be written"):
        transcript.add([Discussion("a", {})])


def test_numbers_out_of_range_are_named():
    for settings in ({"rounds": -1}, {"rounds": True}, {"orders": 0}, {"orders": 9}, {"temperature": -1.0}):
        with pytest.raises(InvalidInput):
            discussion_consumers(WHOLESALE, tiny(), **settings)
    with pytest.raises(InvalidInput, match="personas"):
        replace(discussion_consumers(WHOLESALE, tiny()), personas=())


def test_json_lines_hold_what_was_said(talked):
    first = json.loads(talked[3].read_text().split("\n")[0])
    assert first["scenario"] == "wholesale" and first["model"] == "tiny" and first["format"] == 1
    assert load_cast("wholesale").phase(9).form == "ballot"
