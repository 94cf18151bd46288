"""What is remembered: only good values, told what was wrong with others, in napari's settings."""

from __future__ import annotations

import pytest
import yaml
from napari.settings import get_plugin_settings
from tests.gui.common import texts

from napari_medsam2.gui.preference_store import PreferenceStore
from napari_medsam2.gui.preferences import DEFAULT_KEYS, Preferences, checked, told_key

PLUGIN = "napari-medsam2"


@pytest.fixture
def stored(napari_config):
    """Write what is in napari's file for this plugin."""

    def write(**content) -> None:
        (napari_config / f"{PLUGIN}.yaml").write_text(yaml.safe_dump(content))

    return write


class TestChecked:
    def test_nothing_given_is_the_default(self):
        assert checked({}) == (Preferences(), ())

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("model", "no-such-model"),
            ("model", 3),
            ("device", "toaster"),
            ("precision", "fp8"),
            ("cache_mb", -1),
            ("cache_mb", True),
            ("cache_mb", "many"),
            ("prefetch", 1),
            ("autosave_seconds", 61),
            ("autosave_seconds", 4),
            ("show_hints", "no"),
        ],
    )
    def test_a_bad_value_falls_back_and_is_named(self, name, value):
        preferences, problems = checked({name: value, "precision": "fp32"} | {name: value})
        assert getattr(preferences, name) == getattr(Preferences(), name)
        assert len(problems) == 1
        assert f"setting {name} = {value!r} " in problems[0]

    def test_good_values_stay_beside_a_bad_one(self):
        preferences, _ = checked({"device": "toaster", "cache_mb": 64, "unknown": 1})
        assert preferences == Preferences(cache_mb=64)

    @pytest.mark.parametrize("key", ["Foo", "Control-", "Control", "B C", 7, None])
    def test_what_is_no_key_falls_back(self, key):
        preferences, problems = checked({"keys": {"box": key}})
        assert preferences.keys["box"] == "B"
        assert "keys.box" in problems[0]

    def test_a_key_may_be_taken_away(self):
        preferences, problems = checked({"keys": {"box": ""}})
        assert preferences.keys["box"] == ""
        assert not problems

    def test_a_clash_is_named_and_the_usual_key_wins(self):
        preferences, problems = checked({"keys": {"box": "p"}})
        assert preferences.keys == DEFAULT_KEYS
        assert problems == ("setting keys.box = 'p' is the key of point already; 'B' is used",)

    def test_two_keys_change_places(self):
        preferences, problems = checked({"keys": {"box": "P", "point": "B"}})
        assert (preferences.keys["box"], preferences.keys["point"]) == ("P", "B")
        assert not problems

    def test_one_key_for_two_actions_whose_usual_key_is_gone(self):
        preferences, problems = checked({"keys": {"box": "X", "point": "X", "segment": "P"}})
        assert [preferences.keys[a] for a in ("box", "point", "segment")] == ["X", "", "P"]
        assert "keys.point = 'X' is the key of box already; '' is used" in problems[0]


@pytest.mark.parametrize(
    ("key", "told"),
    [("B", "B"), ("Control-Shift-Z", "Ctrl+Shift+Z"), ("Escape", "Esc"), ("Control--", "Ctrl+-")],
)
def test_keys_as_people_write_them(key, told):
    assert told_key(key) == told


class TestStore:
    def test_what_is_saved_is_there_the_next_day(self, napari_config):
        store = PreferenceStore()
        assert store.preferences == Preferences()
        store.save(device="cpu", show_hints=False, keys={**DEFAULT_KEYS, "box": "X"})
        written = yaml.safe_load((napari_config / f"{PLUGIN}.yaml").read_text())
        assert written == {
            "general": {"device": "cpu", "show_hints": False},
            "keys": {"box": "X"},
        }
        expected = Preferences(device="cpu", show_hints=False, keys={**DEFAULT_KEYS, "box": "X"})
        assert PreferenceStore().preferences == expected

    def test_a_file_is_read(self, stored):
        stored(general={"cache_mb": 256}, keys={"stop": "F5"})
        preferences = PreferenceStore().preferences
        assert preferences.cache_mb == 256
        assert preferences.keys["stop"] == "F5"

    def test_a_model_that_is_gone_warns_once(self, stored, notes):
        stored(general={"model": "gone-model"})
        store = PreferenceStore()
        assert store.preferences.model == Preferences().model
        get_plugin_settings(PLUGIN).general.device = "cpu"
        assert store.preferences.device == "cpu"
        store.warn()
        assert len(notes) == 1
        assert "setting model = 'gone-model' cannot be used" in texts(notes)[0]

    @pytest.mark.parametrize("content", ["general: [1, 2]\n", "{ not yaml", "- a\n- list\n"])
    def test_a_broken_file_gives_defaults(self, napari_config, content, notes):
        (napari_config / f"{PLUGIN}.yaml").write_text(content)
        assert PreferenceStore().preferences == Preferences()

    def test_a_change_elsewhere_is_followed(self):
        store, seen = PreferenceStore(), []
        store.changed.connect(lambda before, after: seen.append((before, after)))
        get_plugin_settings(PLUGIN).general.precision = "fp32"
        assert seen == [(Preferences(), Preferences(precision="fp32"))]
        store.save(device="cpu")
        assert len(seen) == 1
        store.close()
        get_plugin_settings(PLUGIN).general.device = "auto"
        assert len(seen) == 1

    def test_what_is_typed_letter_by_letter_is_called_wrong_only_when_it_rests(self, notes):
        settings, store, seen = get_plugin_settings(PLUGIN), PreferenceStore(), []
        store.save(model="litemedsam")
        store.troubled.connect(lambda: seen.append(store.preferences.model))
        for typed in ("litemedsam-", "litemedsam-t", "litemedsam-track"):
            settings.general.model = typed
        assert seen == ["litemedsam", "litemedsam"]
        assert store.preferences.model == "litemedsam-track"
        store.warn()
        assert not notes
        settings.keys.box = "Foo"
        assert store.preferences.keys["box"] == "B"
        store.warn()
        store.warn()
        assert len(notes) == 1
        assert "keys.box = 'Foo'" in texts(notes)[0]

    def test_what_napari_does_not_take_is_told_and_lasts_for_the_window(self, notes):
        store = PreferenceStore()
        store.save(device="cuda:1")
        assert store.preferences.device == "cuda:1"
        assert "setting device = 'cuda:1' cannot be remembered" in texts(notes)[0]

    def test_without_settings_in_napari_it_lasts_for_the_window(self, monkeypatch):
        def none(plugin: str) -> None:
            raise KeyError(plugin)

        monkeypatch.setattr("napari.settings.get_plugin_settings", none)
        store = PreferenceStore()
        store.save(device="cpu")
        assert store.preferences == Preferences(device="cpu")
        store.close()
        assert PreferenceStore().preferences == Preferences()

    def test_the_manifest_states_the_same_defaults(self):
        settings = get_plugin_settings(PLUGIN)
        stated = settings.general.model_dump() | {"keys": settings.keys.model_dump()}
        assert checked(stated) == (Preferences(), ())
        assert set(stated) == set(Preferences.__dataclass_fields__)
        assert settings.keys.model_dump() == DEFAULT_KEYS
