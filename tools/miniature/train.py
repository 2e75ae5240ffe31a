"""The training recipe: world -> pictures -> autoencoder -> CLIPs -> UNet -> scorers and judge -> checkpoint folder.

Training is resumable: finished stages are loaded, and an interrupted one continues from its last snapshot, at most a minute old. Several
processes may train stages that do not depend on each other in one work folder (`stages`), one core each.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.promptdb.errors import BadInput
from limner.tools.miniature.recipe.kept import Kept
from limner.tools.miniature.recipe.presets import PRESETS, STAGES, Preset, shortened
from limner.tools.miniature.world.sprites import EMOJI_FONT, Glyphs
from limner.tools.miniature.world.vocabulary import WORLD
from limner.tools.training import save_whole, write_whole

if TYPE_CHECKING:
    import numpy as np
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

    from limner.tools.miniature.recipe.dataset import Dataset
    from limner.tools.miniature.recipe.ranked import Pool
    from limner.tools.scoring.judge_network import JudgeNetwork

WEIGHTS = Path(__file__).parent / "weights"


def train(
    preset: str = "cpu",
    out: Path | None = None,
    work: Path = Path("runs/miniature"),
    seed: int = 0,
    resume: bool = True,
    *,
    stages: Sequence[str] = STAGES,
    keep: Sequence[str] = (),
    device: str = "cpu",
    share: float = 1.0,
    glyphs: Glyphs = EMOJI_FONT,
    say: Callable[[str], None] = print,
) -> None:
    """Trains the miniature in the folder `work`, or continues training there, and writes the checkpoint once every stage is finished.

    `preset`: a name in `PRESETS`. `out`: the checkpoint's folder; None for the embedded checkpoint's own. `resume`: False deletes what
    `work` holds and starts over. `stages`: train only these and the stages that they need. `keep`: take these stages' weights from the
    checkpoint in `out` without training them; the card lists them. `share`: fraction in (0, 1] of every stage's steps and pictures, for
    trial runs. `glyphs`: source of the emoji pictures. `say`: called with each line of progress.

    Raises BadInput for an unknown preset or stage, where `work` holds a training with other settings, or where the emoji font is missing.
    """
    import torch

    if preset not in PRESETS:
        raise BadInput(f"unknown preset {preset!r}; there are {', '.join(PRESETS)}")
    if unknown := {*stages, *keep} - set(STAGES):
        raise BadInput(f"unknown stage {min(unknown)!r}; there are {', '.join(STAGES)}")
    torch.set_flush_denormal(True)
    if not resume:
        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    out = out or WEIGHTS
    chosen = PRESETS[preset] if share == 1 else shortened(PRESETS[preset], share)
    _begin(work, {"world": WORLD, "preset": preset, "seed": seed, "share": share})
    recipe = _Recipe(chosen, work, seed, device, glyphs, say, Kept(out, tuple(keep)))
    for stage in STAGES:
        if stage in stages:
            getattr(recipe, stage)()
    missing = [stage for stage in STAGES if stage not in keep and not (work / f"{stage}.done.pt").is_file()]
    if missing:
        say(f"still to be trained before the checkpoint can be written: {', '.join(missing)}")
        return
    recipe.finish(out, {"recipe": {"preset": preset, "seed": seed, "share": share, "kept": sorted(keep)}})


def _begin(work: Path, asked: dict[str, Any]) -> None:
    """Records in `work` what is trained there.

    Raises BadInput where `work` holds a training with other settings: their parts must not be mixed.
    """
    note = work / "training.json"
    if note.is_file():
        begun = json.loads(note.read_text(encoding="utf-8"))
        if begun != asked:
            differs = ", ".join(f"{name} {begun.get(name)} (now {value})" for name, value in asked.items() if begun.get(name) != value)
            raise BadInput(f"{work} holds a training of {differs}: give another --work, or --restart to throw it away")
    else:
        write_whole(note, json.dumps(asked) + "\n")


class _Recipe:
    """The training stages. Each method trains its part, or loads it if it is trained already, and so do the parts that it needs."""

    def __init__(self, preset: Preset, work: Path, seed: int, device: str, glyphs: Glyphs, say: Callable[[str], None], kept: Kept) -> None:
        from limner.tools.miniature.recipe.dataset import render_dataset
        from limner.tools.miniature.recipe.tokenizer import kept_tokenizer

        kept.put_tokenizer(work / "tokenizer")
        self.kept = kept
        self.preset, self.work, self.seed, self.device, self.glyphs, self.say = preset, work, seed, device, glyphs, say
        self.tokenizer: CLIPTokenizer = kept_tokenizer(work / "tokenizer", seed)
        self.data: Dataset = render_dataset(work / "scenes", preset.groups, preset.nouns, seed, glyphs)
        self.looks: Dataset = render_dataset(work / "looks", max(16, preset.groups // 16), preset.nouns, seed + 1, glyphs, looks=True)
        self._made: dict[str, Any] = {}

    def vae(self) -> AutoencoderKL:
        from limner.tools.miniature.recipe.vae import new_vae, train_vae

        def make() -> AutoencoderKL:
            vae = self._seeded(0, new_vae)
            train_vae(vae, self.data, self.looks, self.preset.vae, self.preset.vae_batch, self.work, self.seed, self.say)
            return vae

        return self._once("vae", make)

    def text_encoder(self) -> CLIPTextModel:
        from transformers import CLIPTextModel

        def make() -> CLIPTextModel:
            clip = self._trained_clip("text_encoder", self.seed + 1, rare=False)
            encoder = CLIPTextModel(clip.config.text_config)
            encoder.load_state_dict(
                {name.removeprefix("text_model."): value for name, value in clip.state_dict().items() if name.startswith("text_model.")}
            )
            return encoder.eval().to(self.device)

        return self._once("text_encoder", make)

    def alignment(self) -> CLIPModel:
        return self._once("alignment", lambda: self._trained_clip("alignment", self.seed + 2, rare=True))

    def unet(self) -> UNet2DConditionModel:
        from limner.tools.miniature.recipe.unet import new_unet, train_unet

        def make() -> UNet2DConditionModel:
            unet = self._seeded(3, lambda: new_unet(self.preset.unet_channels))
            settings = (self.preset.unet, self.preset.unet_batch, self.work, self.seed, self.say)
            train_unet(unet, self.vae(), self.text_encoder(), self.tokenizer, self.data, *settings)
            return unet

        return self._once("unet", make)

    def judge(self) -> JudgeNetwork:
        from limner.tools.miniature.recipe.judge import new_judge, train_judge

        def make() -> JudgeNetwork:
            network = self._seeded(4, lambda: new_judge(self.preset.nouns))
            settings = (self.preset.judge, self.preset.judge_batch, self.work, self.seed, self.say)
            train_judge(network, self.vae(), self.data, self.looks, self._repainted, *settings)
            return network

        return self._once("judge", make)

    def _repainted(self) -> tuple[np.ndarray, np.ndarray]:
        from limner.tools.miniature.recipe.repainted import Painter, kept_repainted

        painter = Painter(self.vae(), self.unet(), self.text_encoder(), self.tokenizer)
        return kept_repainted(painter, self.data, self.preset.repainted, self.seed, self.work, self.say)

    def preference(self) -> CLIPModel:
        from limner.tools.miniature.recipe.preference import train_preference

        def make() -> CLIPModel:
            model = copy.deepcopy(self.alignment())
            settings = (self.preset.preference, self.preset.preference_prompts, self.work, self.seed, self.say)
            train_preference(model, self.tokenizer, self._pool, *settings)
            return model

        return self._once("preference", make)

    def _pool(self) -> Pool:
        from limner.tools.miniature.recipe.ranked import kept_pool

        return kept_pool(self.vae(), self.preset.pool, self.preset.nouns, self.seed, self.work, self.glyphs, self.say)

    def styles(self) -> dict[str, dict[str, dict[str, torch.Tensor]]]:
        """Returns the LoRA weights of every style checkpoint: {name: {"unet": ..., "text_encoder": ...}}."""
        return self._once("styles", self._trained_styles)

    def finish(self, out: Path, facts: dict[str, Any]) -> None:
        """Measures the trained parts on new scenes and writes the checkpoint to `out`; `facts` go into its card."""
        from limner.tools.diffusion.checkpoint import open_checkpoint
        from limner.tools.miniature.checks.hard import write_hard
        from limner.tools.miniature.checks.measure import FRESH, measured
        from limner.tools.miniature.checks.samples import sample_grid
        from limner.tools.miniature.recipe.export import Parts, export
        from limner.tools.miniature.recipe.preference import AESTHETIC, fit_aesthetic
        from limner.tools.miniature.recipe.prompt_sets import COUNT

        share = facts["recipe"]["share"]
        few = max(60, round(AESTHETIC * share))
        weight, bias, correlation = fit_aesthetic(self.alignment(), self.vae(), self.preset.nouns, self.seed, self.glyphs, few)
        parts = Parts(
            self.tokenizer,
            self.text_encoder(),
            self.unet(),
            self.vae(),
            self.alignment(),
            self.preference(),
            (weight, bias),
            self.judge(),
            self.preset.nouns,
            self.styles(),
        )
        figures = {**measured(parts, self.seed, self.glyphs, max(64, round(FRESH * share))), "aesthetic_correlation": round(correlation, 4)}
        self.say(f"on fresh scenes: {figures}")
        export(parts, out, {**facts, "measured": figures})
        write_hard(open_checkpoint(str(out), self.device), self.say, max(2, round(COUNT * share)))
        sample_grid(out, self.work / "samples.png")
        self.say(f"checkpoint written to {out}; look at {self.work / 'samples.png'}")

    def _trained_styles(self) -> dict[str, dict[str, dict[str, torch.Tensor]]]:
        from limner.tools.miniature.recipe.style_training import merged, train_style
        from limner.tools.miniature.world.style_specs import SPECS

        parts = self.unet(), self.text_encoder(), self.vae(), self.tokenizer, self.preset.nouns, self.preset.style_pictures
        settings = (self.preset.style, self.preset.style_batch, self.work, self.seed, self.glyphs, self.say)
        made = {spec.name: train_style(spec, *parts, *settings) for spec in SPECS if len(spec.looks) == 1}
        for spec in SPECS:
            if len(spec.looks) == 2:
                first, second = (made[look] for look in spec.looks)
                made[spec.name] = {part: merged(first[part], second[part]) for part in first}
        save_whole({}, self.work / "styles.done.pt")
        return {spec.name: made[spec.name] for spec in SPECS}

    def _trained_clip(self, name: str, seed: int, rare: bool) -> CLIPModel:
        from limner.tools.miniature.recipe.clip import new_clip, train_clip

        clip = new_clip(self.tokenizer, seed=seed).to(self.device)
        schedules = self.preset.reading, self.preset.seeing if name == "alignment" else None, getattr(self.preset, name)
        train_clip(name, clip, self.tokenizer, self.data, *schedules, self.preset.clip_batch, self.work, seed, rare, self.say)
        return clip

    def _seeded(self, offset: int, make: Callable[[], Any]) -> Any:
        import torch

        torch.manual_seed(self.seed + offset)
        return make().to(self.device)

    def _kept(self, name: str) -> Any:
        return self.kept.styles() if name == "styles" else self.kept.part(name).to(self.device)

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._made:
            self._made[name] = self._kept(name) if name in self.kept.stages else make()
        return self._made[name]
