"""Names of samplers: A1111's, ComfyUI's, and the scheduler classes of diffusers that do the same.

A name of None means that the program has no such sampler. Sources: stable-diffusion-webui, modules/sd_samplers_kdiffusion.py and
sd_schedulers.py; ComfyUI, comfy/samplers.py; diffusers' documentation, "Schedulers" (table of k-diffusion names).
"""

from __future__ import annotations

from dataclasses import dataclass

PLACEHOLDER_SAMPLER = ("Euler", "euler")
"""A sampler that every program has."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """One sampler by its name in A1111, in ComfyUI, and as a class of diffusers."""

    a1111: str | None
    comfyui: str | None
    diffusers: str | None = None


SAMPLERS = (
    Sampler("Euler", "euler", "EulerDiscreteScheduler"),
    Sampler("Euler a", "euler_ancestral", "EulerAncestralDiscreteScheduler"),
    Sampler("Heun", "heun", "HeunDiscreteScheduler"),
    Sampler("DPM2", "dpm_2", "KDPM2DiscreteScheduler"),
    Sampler("DPM2 a", "dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler"),
    Sampler("LMS", "lms", "LMSDiscreteScheduler"),
    Sampler("DPM fast", "dpm_fast"),
    Sampler("DPM adaptive", "dpm_adaptive"),
    Sampler("DPM++ 2S a", "dpmpp_2s_ancestral"),
    Sampler("DPM++ SDE", "dpmpp_sde", "DPMSolverSDEScheduler"),
    Sampler("DPM++ 2M", "dpmpp_2m", "DPMSolverMultistepScheduler"),
    Sampler("DPM++ 2M SDE", "dpmpp_2m_sde"),
    Sampler("DPM++ 3M SDE", "dpmpp_3m_sde"),
    Sampler("DDPM", "ddpm", "DDPMScheduler"),
    Sampler("LCM", "lcm", "LCMScheduler"),
    Sampler("DDIM", "ddim", "DDIMScheduler"),
    Sampler("PLMS", None, "PNDMScheduler"),
    Sampler("UniPC", "uni_pc", "UniPCMultistepScheduler"),
    Sampler(None, "uni_pc_bh2"),
    Sampler(None, "ipndm"),
    Sampler(None, "deis", "DEISMultistepScheduler"),
    Sampler("Restart", None),
)

SCHEDULES = (
    ("Automatic", "normal"),
    ("Uniform", "normal"),
    ("Karras", "karras"),
    ("Exponential", "exponential"),
    ("SGM Uniform", "sgm_uniform"),
    ("Simple", "simple"),
    ("Normal", "normal"),
    ("DDIM", "ddim_uniform"),
    ("Beta", "beta"),
    ("KL Optimal", "kl_optimal"),
)
"""Schedules of the noise levels, by A1111's name and ComfyUI's."""

_GPU = "_gpu"  # ComfyUI's samplers whose noise comes from the GPU
_OTHER_NAMES = {
    **{f"k_{item.comfyui}": item for item in SAMPLERS if item.comfyui},
    **{f"{item.comfyui}_k": item for item in SAMPLERS if item.comfyui},  # InvokeAI's, with Karras's noise levels
}


def sampler_named(name: str) -> Sampler | None:
    """Returns the sampler of a name in any of the three; case and ComfyUI's `_gpu` do not matter. None for an unknown one."""
    wanted = name.strip().lower().removesuffix(_GPU)
    for item in SAMPLERS:
        if wanted in ((item.a1111 or "").lower(), (item.comfyui or ""), (item.diffusers or "").lower()) and wanted:
            return item
    return _OTHER_NAMES.get(wanted)


def parted(sampler: str, schedule: str) -> tuple[str, str]:
    """Returns the sampler without the schedule that older versions of A1111 write behind it: "DPM++ 2M Karras" is (DPM++ 2M, Karras)."""
    for name, _ in SCHEDULES:
        if not schedule and sampler.lower().endswith(f" {name.lower()}") and sampler_named(sampler[: -len(name) - 1]):
            return sampler[: -len(name) - 1], name
    return sampler, schedule


def schedule_named(name: str, to: str) -> str | None:
    """Returns a schedule's name in A1111 (`to` "a1111") or ComfyUI ("comfyui"); "" for "", and None for an unknown one."""
    wanted = name.strip().lower()
    if not wanted:
        return ""
    for ours, theirs in SCHEDULES:
        if wanted == ours.lower():
            return theirs if to == "comfyui" else ours
    for ours, theirs in reversed(SCHEDULES):
        if wanted == theirs:
            return theirs if to == "comfyui" else ours
    return None
