"""Three networks learn the same task: equal geometry, different codes. Prints kernel blocks and the commonest codes."""

import warnings

import nonlazy as nl

warnings.simplefilter("ignore", nl.SamplingWarning)  # the draws are few; the last line says what that means
task = nl.tasks.orthogonal(n_inputs=24, class_ratios=(0.5, 0.25, 0.25))
for activation in ("linear", "erf", "relu"):
    posterior = nl.Posterior(nl.Model(width=24, activation=activation), task, temperature=5e-4)
    tree = nl.sample(posterior, chains=2, warmup=100, draws=100, progress=False)
    blocks = tree["posterior"]["kernel_blocks"].isel(layer=-1).mean(["chain", "draw"])
    fractions = nl.code_fractions(tree).mean("chain").to_series().sort_values(ascending=False)
    print(activation, "kernel blocks", blocks.round(decimals=2).values.tolist())
    print(activation, "codes", fractions.head(4).round(2).to_dict())
    print(activation, nl.diagnose(tree).verdict)
