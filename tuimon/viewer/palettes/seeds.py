"""The characters that palettes are grown from: nothing but colours.

The two safe ones were searched for: their signs stay apart (see the tests) as deuteranopes, protanopes and tritanopes
see them, by lightness where hue is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tuimon.viewer.palettes.grown import Seed

SEEDS: Final[Mapping[str, Seed]] = {
    "safe-dark": Seed(
        background="#101216", foreground="#cdd2d8", good="#3aa0e8", info="#8e98a5", warning="#f6dd5c",
        critical="#ff5f3a",
        data=("#8ecbf5", "#f0a04b", "#a4f58c", "#fb4f8a", "#b987d5", "#6072fd", "#b07317", "#ffe7f2"),
        cold="#62b6ff", hot="#ff8a3c",
    ),
    "safe-light": Seed(
        background="#fcfcfa", foreground="#2a2f36", good="#005fb0", info="#7a7f86", warning="#a87400",
        critical="#7a0c10",
        data=("#0a5fa8", "#b85a00", "#500084", "#00454c", "#7c6b7b", "#7b0407", "#0a024d", "#2b0901"),
        cold="#004f94", hot="#9c2a00",
    ),
    "contrast-dark": Seed(
        background="#000000", foreground="#f4f4f4", good="#00e08a", info="#5cc8ff", warning="#ffd000",
        critical="#ff6a5c", text=7.0,
        data=("#7fdcff", "#ffa3e0", "#ffe54c", "#5cf2b0", "#ffa860", "#b9b0ff", "#ffffff", "#38c0c8"),
        cold="#4db2ff", hot="#ff7f50",
    ),
    "contrast-light": Seed(
        background="#ffffff", foreground="#000000", good="#00604a", info="#00519c", warning="#7a4a00",
        critical="#a80000", text=7.0,
        data=("#00468c", "#8c1a6a", "#5c4d00", "#005c3c", "#8a3600", "#4436a0", "#303030", "#005f6e"),
        cold="#003a78", hot="#980000",
    ),
    "mono": Seed(
        background="#141414", foreground="#c8c8c8", good="#b4b4b4", info="#9a9a9a", warning="#f0f0f0",
        critical="#ff6b57",
        data=("#e2e2e2", "#9c9c9c", "#c0c0c0", "#888888", "#f4f4f4", "#acacac", "#d2d2d2", "#7c7c7c"),
        cold="#a8a8a8", hot="#fafafa", stated={"heat-bad": "#ff6b57"},
    ),
    "solarized-dark": Seed(
        background="#002b36", foreground="#93a1a1", good="#859900", info="#268bd2", warning="#cb8a00",
        critical="#ec5a4a",
        data=("#4aa5e0", "#e06aa5", "#c9a01c", "#2aa198", "#e0703c", "#8a8fdc", "#a9b7b7", "#9cb010"),
        cold="#4aa5e0", hot="#f0744c",
    ),
    "solarized-light": Seed(
        background="#fdf6e3", foreground="#4f646c", good="#647300", info="#1f78b8", warning="#966f00",
        critical="#c9281f",
        data=("#1f78b8", "#bf2d73", "#8a6600", "#1c7f77", "#b84413", "#5a60b4", "#586e75", "#647300"),
        cold="#1a68a3", hot="#b8330f",
    ),
    "gruvbox": Seed(
        background="#282828", foreground="#dccfaa", good="#b8bb26", info="#83a598", warning="#fabd2f",
        critical="#fb5d48",
        data=("#8fc0b8", "#d3869b", "#fabd2f", "#8ec07c", "#fe8019", "#b3a6e8", "#ebdbb2", "#6f93c8"),
        cold="#8ab4c4", hot="#fe8030",
    ),
    "gruvbox-light": Seed(
        background="#fbf1c7", foreground="#3c3836", good="#6a6b0a", info="#076678", warning="#a3660f",
        critical="#9d0006",
        data=("#076678", "#8f3f71", "#92600a", "#3a7150", "#af3a03", "#574f9e", "#504945", "#2f64a6"),
        cold="#06586a", hot="#a02800",
    ),
    "nord": Seed(
        background="#2e3440", foreground="#d8dee9", good="#a3be8c", info="#81a1c1", warning="#ebcb8b",
        critical="#e67f86",
        data=("#88c0d0", "#c9a0c0", "#ebcb8b", "#a3be8c", "#dd9580", "#8fa8d8", "#e5e9f0", "#7fb0a8"),
        cold="#88c0e0", hot="#ec8f78",
    ),
    "dracula": Seed(
        background="#282a36", foreground="#e6e6e0", good="#50fa7b", info="#8be9fd", warning="#ffc86c",
        critical="#ff6e6e",
        data=("#8be9fd", "#ff79c6", "#f1fa8c", "#50fa7b", "#ffb86c", "#bd93f9", "#f8f8f2", "#7d97e0"),
        cold="#86b4ff", hot="#ff7f72",
    ),
    "mocha": Seed(
        background="#1e1e2e", foreground="#cdd6f4", good="#a6e3a1", info="#89b4fa", warning="#f9d9a0",
        critical="#f38ba8",
        data=("#89dceb", "#f5b3e0", "#f9e2af", "#94e2b8", "#fab387", "#cba6f7", "#dfe4f6", "#7fa8ee"),
        cold="#7fb8f8", hot="#f58a9a",
    ),
    "latte": Seed(
        background="#eff1f5", foreground="#4c4f69", good="#2f7d22", info="#1e66f5", warning="#a66a0c",
        critical="#d20f39",
        data=("#1565d8", "#b53c96", "#8f6a00", "#147a80", "#c2490b", "#8839ef", "#4c4f69", "#3a7f2c"),
        cold="#1557c8", hot="#b80a30",
    ),
    "tokyo-night": Seed(
        background="#1a1b26", foreground="#b4bee8", good="#9ece6a", info="#7aa2f7", warning="#e0af68",
        critical="#f7768e",
        data=("#7dcfff", "#d39bf0", "#e8c07a", "#73daca", "#ff9e64", "#8f9bf5", "#cfd6f4", "#9ece6a"),
        cold="#6fb4ff", hot="#ff7f86",
    ),
    "rose-pine": Seed(
        background="#191724", foreground="#d6d3ea", good="#7fc0b0", info="#9ccfd8", warning="#f6c177",
        critical="#eb6f92",
        data=("#9ccfd8", "#ebbcba", "#f6c177", "#6aa7c4", "#ee8a7c", "#c4a7e7", "#e0def4", "#56b09c"),
        cold="#7fc4e0", hot="#f27a90",
    ),
    "rose-dawn": Seed(
        background="#faf4ed", foreground="#575279", good="#2f7a6c", info="#286983", warning="#9f6412",
        critical="#b0344f",
        data=("#286983", "#b0487c", "#96661a", "#2f8072", "#b8543c", "#7a5fa0", "#464261", "#3f6cc4"),
        cold="#1f5f86", hot="#a82a40",
    ),
    "everforest": Seed(
        background="#2d353b", foreground="#d3c6aa", good="#a7c080", info="#7fbbb3", warning="#e3bf6e",
        critical="#ef7f7d",
        data=("#8accc2", "#d699b6", "#dbbc7f", "#a7c080", "#e69875", "#9fb0e0", "#dfd5bd", "#6fb58a"),
        cold="#86c4d4", hot="#f08a70",
    ),
    "ember": Seed(
        background="#17110e", foreground="#d8c8b8", good="#a9b665", info="#c9a27c", warning="#ffb347",
        critical="#ff5a36",
        data=("#ffc67a", "#e08a94", "#f2ec9c", "#a3b86a", "#ff7a42", "#c79ad0", "#f3ece4", "#84b0b0"),
        cold="#8fb4c8", hot="#ff7038",
    ),
    "phosphor": Seed(
        background="#07120b", foreground="#8fd6a0", good="#4ade80", info="#7fd4c1", warning="#e8e05a",
        critical="#ff7a4f",
        data=("#86f0a6", "#d9c85a", "#eaf29a", "#5fd0c4", "#f0a052", "#8fb8e8", "#e4f7ea", "#57b06c"),
        cold="#5fc8d8", hot="#ff8f4a",
    ),
}
