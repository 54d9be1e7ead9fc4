"""The commands and their options; what they do is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

import stabzoo
from stabzoo.cli.arguments.options import (
    DATA,
    Arguments,
    DataSet,
    Device,
    Json,
    Plot,
    Root,
    Size,
    Unverified,
    Workers,
    numbers,
    option,
)
from stabzoo.cli.console import Status
from stabzoo.cli.study.commands import study

__all__ = ["app"]

EXAMPLES = """With --traceback, every command also shows where in its code a plugin failed.

Examples:
  stabzoo list 'zerosnet*' --status strong
  stabzoo show zerosnet --set lam=3 --plot lambda3.png
  stabzoo analyze --alpha 1/3 5/9 1/9 --beta 16/9
  stabzoo analyze 'bdf(3)'
  stabzoo check
  stabzoo doctor
  stabzoo design 5 3 --kind single-beta
  stabzoo barriers --kind single-beta
  stabzoo new-plugin leapfrog --alpha 0 1 --beta 2 0
  stabzoo oscillator --omega 50 --step 1/100 1/20
  stabzoo study list
  stabzoo study quickstart --workers 2
  stabzoo train zerosnet20_opt --data digits
  stabzoo evaluate runs/zerosnet20_opt-digits-0
  stabzoo diagnose stable_resnet_s11_cert --folder runs/diagnosis
  stabzoo audit zerosnet20_tra --folder runs/audit
  stabzoo page --out site
  stabzoo predict runs/zerosnet20_opt-digits-0 photos --csv predictions.csv
  stabzoo export runs/zerosnet20_opt-digits-0 --onnx digits.onnx
  stabzoo publish runs/zerosnet20_opt-digits-0 --folder digits
"""

app = App(
    name="stabzoo",
    help="Residual networks that are numerical methods for ODEs, with their stability proved.",
    help_epilogue=EXAMPLES,
    help_format="plaintext",
    version=f"stabzoo {stabzoo.__version__}",
    default_parameter=Parameter(negative=()),
    exit_on_error=False,
    print_error=False,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)


app.register_install_completion_command(
    help="Install completion for bash, zsh or fish, and load it in the start-up file.", help_epilogue=""
)


@app.command(name="list", help_epilogue="")
def list_command(
    *patterns: Annotated[str, option("Names to list, e.g. 'zerosnet*'; a scheme's name also lists its models.")],
    status: Annotated[
        Status | None,
        option("Only those with this stability, or those of broken plugins."),
    ] = None,
    schemes: Annotated[bool, option("Only schemes.")] = False,
    models: Annotated[bool, option("Only models.")] = False,
    as_json: Json = False,
) -> None:
    """List schemes and models, and what is proved of them.

    Example: stabzoo list 'zerosnet*' --status strong
    """
    from stabzoo.cli.list import list_all

    both = schemes == models
    list_all(patterns, status, schemes=schemes or both, models=models or both, as_json=as_json)


@app.command(help_epilogue="")
def show(
    name: Annotated[str, option("A scheme or a model.")],
    /,
    *,
    settings: Annotated[
        tuple[str, ...],
        option("A parameter of the scheme: lam=-9/5, alpha=1/3,5/9,1/9; may be repeated.", "--set"),
    ] = (),
    as_json: Json = False,
    plot: Plot = None,
) -> None:
    """Show what is proved of a scheme, the proof, and corrections.

    Example: stabzoo show zerosnet --set lam=3 --plot lambda3.png
    """
    from stabzoo.cli.show import show_named

    show_named(name, settings, as_json=as_json, plot=plot)


@app.command(help_epilogue="")
def analyze(
    name: Annotated[str | None, option("A named method, e.g. 'bdf(3)', 'ssp(4, 3)', instead of coefficients.")] = None,
    /,
    *,
    alpha: Annotated[
        tuple[str, ...], numbers("Weights of the past states, newest first, as exact numbers: 2, 1/3, -0.75.")
    ] = (),
    beta: Annotated[tuple[str, ...], numbers("Weights of the past slopes, newest first.")] = (),
    beta_next: Annotated[str | None, Parameter(help="Weight of the new slope, for an implicit method.")] = None,
    as_json: Json = False,
    plot: Plot = None,
) -> None:
    """Prove the stability of given coefficients, or of a named method.

    y[n+1] = alpha_0 y[n] + alpha_1 y[n-1] + ... + h (beta_next f[n+1] + beta_0 f[n] + ...)

    Names: adams_bashforth(k), adams_moulton(k), bdf(k), milne_simpson(k), nystrom(k), ssp(d, p).

    Example: stabzoo analyze --alpha 1/3 5/9 1/9 --beta 16/9
    """
    from stabzoo.cli.show import coefficients_of, show_method

    show_method(coefficients_of(name, alpha, beta, beta_next), as_json=as_json, plot=plot)


@app.command(help_epilogue="")
def design(
    steps: Annotated[int, option("Number of past states.")],
    order: Annotated[int, option("Least order of accuracy.")],
    /,
    *,
    kind: Annotated[
        Literal["explicit", "single-beta", "implicit", "bdf-like"],
        option("Slopes to use: all past ones (the default), only f[n], also the new one, or only the new one."),
    ] = "explicit",
    objective: Annotated[
        tuple[str, ...],
        option(
            "What to optimise: parasitic_radius (the default), error_constant, real_interval, imaginary_interval, "
            "ssp_coefficient, stability_constant, growth, effective_depth or sector_angle; or several, with weights: "
            "NAME=WEIGHT."
        ),
    ] = (),
    bounds: Annotated[
        tuple[str, ...],
        option("Worst acceptable value of an objective: real_interval=1; may be repeated.", name="--bound"),
    ] = (),
    signs: Annotated[
        tuple[str, ...],
        option("Signs of coefficients: alpha=+, beta_1=-, alpha_2=0; + and - allow 0; may be repeated.", name="--sign"),
    ] = (),
    depth: Annotated[int | None, option("Number of blocks for growth and effective depth.")] = None,
    starts: Annotated[int, option("Starting points of the search; by default 24.")] = 24,
    seed: Annotated[int, option("Random seed; by default 0.")] = 0,
    front: Annotated[str | None, option("Also compute the trade-off with this second objective.")] = None,
    points: Annotated[int, option("Number of designs on the trade-off; by default 9.")] = 9,
    save: Annotated[Path | None, option("File to store the design in, for stabzoo new-plugin --design.")] = None,
    as_json: Json = False,
    plot: Annotated[
        Path | None, option("Also draw roots and stability region, or the front: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Design the best zero-stable scheme, with exact coefficients and proofs about it and all others.

    Example: stabzoo design 3 2 --kind single-beta --front real_interval --plot front.png
    """
    from stabzoo.cli.designing.design import design_scheme

    design_scheme(
        steps,
        order,
        kind=kind,
        objective=objective,
        bounds=bounds,
        signs=signs,
        depth=depth,
        starts=starts,
        seed=seed,
        front=front,
        points=points,
        save=save,
        as_json=as_json,
        plot=plot,
    )


@app.command(help_epilogue="")
def barriers(
    *,
    kind: Annotated[
        Literal["explicit", "single-beta", "implicit", "bdf-like"],
        option("Slopes to use: all past ones (the default), only f[n], also the new one, or only the new one."),
    ] = "explicit",
    steps: Annotated[int, option("Largest number of past states; by default 6.")] = 6,
    starts: Annotated[int, option("Starting points of the search for a scheme; by default 24.")] = 24,
    as_json: Json = False,
) -> None:
    """Show which orders zero-stable schemes can have: an example of each, and a proof against the next.

    Example: stabzoo barriers --kind single-beta --steps 9
    """
    from stabzoo.cli.designing.barriers import show_barriers

    show_barriers(kind, steps, starts, as_json=as_json)


@app.command(help_epilogue="")
def check(
    *patterns: Annotated[str, option("Schemes to check, e.g. 'zerosnet*'; by default all.")], as_json: Json = False
) -> int:
    """Recompute every claim; exit with 1 if one is false.

    For each scheme: order, stability, conditions and certificate. For each model: its scheme accepts its parameters,
    and a model of its kind can be built. With names of schemes nothing is built; only certified claims need torch.

    Example: stabzoo check 'zerosnet*'
    """
    from stabzoo.cli.check import check_all

    return check_all(patterns, as_json=as_json)


@app.command(help_epilogue="")
def doctor(*, as_json: Json = False) -> int:
    """Check the installation and every plugin, and build a model of each kind; exit with 1 if one is broken.

    Example: stabzoo doctor
    """
    from stabzoo.cli.doctor import examine

    return examine(as_json=as_json)


@app.command(help_epilogue="")
def schema(
    name: Annotated[str | None, option("The document: a command with --json, e.g. 'study status'.")] = None, /
) -> None:
    """Print the JSON schema of results.json or of a command's --json output; without a name, list the schemas.

    Example: stabzoo schema results.json
    """
    from stabzoo.cli.documents.schema import show_schema

    show_schema(name)


@app.command(name="new-plugin", help_epilogue="")
def new_plugin(
    name: Annotated[str, option("Name of the plugin and of its scheme, branch or evaluation, e.g. leapfrog.")],
    /,
    *,
    kind: Annotated[
        Literal["multistep", "runge-kutta", "block", "branch", "evaluation", "models"],
        option(
            "Content: a scheme from coefficients (multistep, the default, or runge-kutta) or with a custom step "
            "(block), a residual branch, an evaluation with a study, or more models of a scheme."
        ),
    ] = "multistep",
    scheme: Annotated[str | None, option("The scheme of the models.")] = None,
    alpha: Annotated[
        tuple[str, ...], numbers("Weights of the past states, newest first; by default those of a known scheme.")
    ] = (),
    beta: Annotated[tuple[str, ...], numbers("Weights of the past slopes, newest first.")] = (),
    beta_next: Annotated[str | None, option("Weight of the new slope, for an implicit scheme.")] = None,
    a: Annotated[
        tuple[str, ...],
        numbers("Rows of a tableau below its diagonal, starting with the second, e.g. 1/2 0,1/2 0,0,1."),
    ] = (),
    b: Annotated[tuple[str, ...], numbers("Weights of the stages of a tableau, e.g. 1/6 1/3 1/3 1/6.")] = (),
    design: Annotated[Path | None, option("A designed scheme: the file of stabzoo design --save.")] = None,
    folder: Annotated[Path, option("Parent of the new folder; by default the current one.")] = Path(),
) -> None:
    """Write a plugin: a distribution with a scheme, a branch, an evaluation or models, and with tests.

    Example: stabzoo new-plugin leapfrog --alpha 0 1 --beta 2 0
    """
    from stabzoo.cli.new_plugin import write_new_plugin

    write_new_plugin(
        name,
        kind,
        scheme=scheme,
        alpha=alpha,
        beta=beta,
        beta_next=beta_next,
        a=a,
        b=b,
        design=design,
        folder=folder,
    )


@app.command(help_epilogue="")
def oscillator(
    *,
    omega: Annotated[str, Parameter(help="The frequency, an exact number.")] = "50",
    step: Annotated[tuple[str, ...], numbers("Step sizes h, exact numbers.")] = ("1/100", "1/50", "21/500"),
    as_json: Json = False,
    plot: Annotated[Path | None, option("Also draw phase diagrams: .png, .svg or .pdf.")] = None,
) -> None:
    """Compare schemes on y' = -omega^2 z, z' = y, whose orbits are closed.

    Forward Euler, backward Euler, the trapezoidal rule and Verlet, with exact spectral radii.

    Example: stabzoo oscillator --omega 50 --step 1/100 1/20 --plot phases.png
    """
    from stabzoo.cli.oscillator import compare_on_oscillator

    compare_on_oscillator(omega, step, as_json=as_json, plot=plot)


app.command(study)


@app.command(help_epilogue="")
def train(
    name: Annotated[str, option("Any timm model.")],
    /,
    *,
    data: DataSet = "digits",
    size: Size = None,
    root: Root = Path("data"),
    download: Annotated[bool, option("Download the data set first if it is missing.")] = False,
    unverified: Unverified = False,
    recipe: Annotated[
        str | None,
        option(
            "cifar, digits, digits-stable, imagenet, mnist, percolation, or a .yaml; by default that of the data set."
        ),
    ] = None,
    settings: Annotated[
        tuple[str, ...], option("A setting of the recipe: epochs=20, lr=0.05; may be repeated.", "--set")
    ] = (),
    arguments: Arguments = (),
    seed: Annotated[int, option("Random seed; by default 0.")] = 0,
    device: Device = "cpu",
    threads: Annotated[
        int | None, option("Threads of torch; by default one per processor, shared by all processes.")
    ] = None,
    folder: Annotated[Path | None, option("Folder of the training; by default runs/MODEL-DATA-SEED.")] = None,
    checkpoint_steps: Annotated[int | None, option("Also write a checkpoint after this many updates.")] = None,
    workers: Workers = None,
    log: Annotated[
        tuple[Literal["tensorboard", "mlflow"], ...],
        option("Also log every epoch to tensorboard (event files in the folder) or mlflow; may be repeated."),
    ] = (),
) -> int:
    """Train a network; an interrupted training resumes where it stopped, bit for bit.

    On several GPUs or machines: torchrun --nproc-per-node 8 -m stabzoo train ...

    Example: stabzoo train zerosnet20_opt --data cifar10 --download --device cuda --set amp=bfloat16
    """
    from stabzoo.cli.train import train_model

    return train_model(
        name,
        data=data,
        size=size,
        root=root,
        download=download,
        verified=not unverified,
        settings=settings,
        arguments=arguments,
        chosen=recipe,
        seed=seed,
        device=device,
        threads=threads,
        folder=folder,
        checkpoint_steps=checkpoint_steps,
        workers=workers,
        log=log,
    )


@app.command(help_epilogue="")
def evaluate(
    *folders: Annotated[
        Path, option("Folders of finished trainings or of a study's runs; if several, they differ only in their seeds.")
    ],
    conditions: Annotated[
        Path | None, option("A .yaml file with a study's evaluations; by default those of the papers.")
    ] = None,
    radii: Annotated[
        tuple[str, ...],
        numbers("More l2 radii to certify and attack, besides 36/255 72/255 108/255.", "--radius"),
    ] = (),
    sigma: Annotated[
        float | None, option("Also certify the network smoothed by noise of this deviation: 10 000 samples per image.")
    ] = None,
    root: Root = Path("data"),
    workers: Workers = None,
    device: Device = "cpu",
    as_json: Json = False,
    plot: Annotated[
        Path | None, option("Also draw certified and attacked accuracy against the radius: .png, .svg or .pdf.")
    ] = None,
) -> int:
    """Measure the accuracy and robustness of trained networks; exit with 1 if one diverged.

    Also under noise and attack, and certified: the share of answers that no change of the pixels up to an l2 radius
    can make wrong.

    Example: stabzoo evaluate runs/zerosnet20_opt-digits-0 runs/zerosnet20_opt-digits-1
    """
    from stabzoo.cli.evaluate import evaluate_trained

    return evaluate_trained(
        folders,
        conditions=conditions,
        radii=radii,
        sigma=sigma,
        root=root,
        workers=workers,
        device=device,
        as_json=as_json,
        plot=plot,
    )


@app.command(help_epilogue="")
def diagnose(
    name: Annotated[str, option("Any timm model, or the folder of a finished training or of a study's run.")],
    /,
    *,
    data: Annotated[str | None, DATA] = None,
    size: Annotated[
        int | None, option("Pixels per side; by default the model's own; with stabzoo's models on digits, 16.")
    ] = None,
    root: Root = Path("data"),
    unverified: Unverified = False,
    arguments: Arguments = (),
    checkpoint: Annotated[
        Path | None, option("Weights of the model: .safetensors, .pt, .pth; by default random.")
    ] = None,
    pretrained: Annotated[bool, option("Load timm's weights of the model.")] = False,
    device: Device = "cpu",
    images: Annotated[int | None, option("Number of test images; by default 256, fewer if they are large.")] = None,
    sigma: Annotated[
        float, option("Deviation of the noise whose growth is measured, on pixels in [0, 1]; by default 0.1.")
    ] = 0.1,
    seconds: Annotated[float, option("Time for each of two searches, which improve with time; by default 10.")] = 10.0,
    condition_numbers: Annotated[
        bool, option("Also compute the condition number of each block: minutes for a deep network.")
    ] = False,
    smallest: Annotated[bool, option("Also compute each layer's smallest singular value.")] = False,
    folder: Annotated[Path | None, option("Also write diagnosis.html and diagnosis.json there.")] = None,
    as_json: Json = False,
) -> None:
    """Measure norms, bounds, condition numbers, angles and the growth of noise.

    On test images, normalised as in training; --data also takes a folder with one folder of images per class.
    The folder of a training provides its model, arguments, weights and data.

    Example: stabzoo diagnose stable_resnet_s11_cert --folder runs/diagnosis
    """
    from stabzoo.cli.measuring.diagnose import diagnose_model
    from stabzoo.cli.measuring.subject import Asked

    diagnose_model(
        Asked(name, root, data, size, not unverified, checkpoint, pretrained, arguments, images, device),
        sigma=sigma,
        seconds=seconds,
        condition_numbers=condition_numbers,
        smallest=smallest,
        folder=folder,
        as_json=as_json,
    )


@app.command(help_epilogue="")
def audit(
    name: Annotated[str, option("Any timm model, or the folder of a finished training or of a study's run.")],
    /,
    *,
    data: Annotated[str | None, DATA] = None,
    size: Annotated[
        int | None, option("Pixels per side; by default the model's own; with stabzoo's models on digits, 16.")
    ] = None,
    root: Root = Path("data"),
    unverified: Unverified = False,
    arguments: Arguments = (),
    checkpoint: Annotated[
        Path | None, option("Weights of the model: .safetensors, .pt, .pth; by default random.")
    ] = None,
    pretrained: Annotated[bool, option("Load timm's weights of the model.")] = False,
    device: Device = "cpu",
    images: Annotated[int | None, option("Number of test images; by default 64, fewer if they are large.")] = None,
    sigma: Annotated[
        float, option("Deviation of the noise whose growth is measured, on pixels in [0, 1]; by default 0.1.")
    ] = 0.1,
    folder: Annotated[Path | None, option("Also write audit.html and audit.json there.")] = None,
    as_json: Json = False,
) -> None:
    """Analyse the scheme that a trained network has learnt, block by block.

    Exact verdicts on the trained coefficients and on the products of all blocks; for any residual network, each block
    as a step of Euler's method: gain, Lipschitz constant, growth of noise. The folder of a training needs no options.

    Example: stabzoo audit zerosnet20_tra --folder runs/audit
    """
    from stabzoo.cli.measuring.audit import audit_model
    from stabzoo.cli.measuring.subject import Asked

    audit_model(
        Asked(name, root, data, size, not unverified, checkpoint, pretrained, arguments, images, device),
        sigma=sigma,
        folder=folder,
        as_json=as_json,
    )


Trained = Annotated[Path, option("The folder of a finished training, of a study's run, or of a published network.")]


@app.command(help_epilogue="")
def page(
    *,
    out: Annotated[Path, option("Folder of the site; by default site.")] = Path("site"),
    store: Annotated[
        tuple[Path, ...], option("A results.sqlite, or its folder, with studies to show; may be repeated.")
    ] = (),
    study: Annotated[
        tuple[Path, ...], option("The YAML file of your own study, if a store has runs of it; may be repeated.")
    ] = (),
    benchmark: Annotated[
        tuple[Path, ...],
        option("A CSV file as timm's benchmark.py writes it: parameters, multiplications, speed; may be repeated."),
    ] = (),
    serve: Annotated[bool, option("Also serve the site until Ctrl-C, to this machine only.")] = False,
) -> None:
    """Write a site that works offline: an explorer of all schemes, the zoo, and the studies of stores.

    Example: stabzoo page --out site
    """
    from stabzoo.cli.deploy.page import write_page

    write_page(out, store, study, benchmark, serve=serve)


@app.command(help_epilogue="")
def predict(
    run: Trained,
    images: Annotated[
        Path, option("A folder of images; if its folders are classes of the network, accuracy is reported too.")
    ],
    /,
    *,
    csv: Annotated[Path | None, option("Also write one line per image: the probability of each class.")] = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Predict the classes of images, with the preprocessing of the training; needs no data set.

    With folders by the names of classes: what is right, class by class, and what was taken for what.

    Example: stabzoo predict runs/zerosnet20_opt-digits-0 photos --csv predictions.csv
    """
    from stabzoo.cli.deploy.predict import predict_folder

    predict_folder(run, images, csv=csv, device=device, as_json=as_json)


@app.command(help_epilogue="")
def export(
    run: Trained,
    /,
    *,
    onnx: Annotated[Path | None, option("ONNX file to write; pip install 'stabzoo[onnx]'.")] = None,
    torch_export: Annotated[Path | None, option("Program for torch.export.load to write, .pt2.")] = None,
) -> None:
    """Export a network to a file for other runtimes, and compare the two on random images.

    The file takes pixels in [0, 1], in batches of any size. Implicit networks get a fixed number of iterations, which
    is printed.

    Example: stabzoo export runs/zerosnet20_opt-digits-0 --onnx digits.onnx --torch-export digits.pt2
    """
    from stabzoo.cli.deploy.export import export_trained

    export_trained(run, onnx=onnx, torch_export=torch_export)


@app.command(help_epilogue="")
def publish(
    run: Trained,
    repository: Annotated[
        str | None, option("OWNER/NAME on the Hugging Face hub; without it, only the folder is written.")
    ] = (None),
    /,
    *,
    folder: Annotated[Path | None, option("New folder to write the repository to as well.")] = None,
    private: Annotated[bool, option("Make the repository private.")] = False,
) -> None:
    """Publish a trained network: weights, config.json and a model card, for timm.create_model.

    Open it with timm.create_model("hf-hub:OWNER/NAME", pretrained=True), or with "local-dir:FOLDER".

    Example: stabzoo publish runs/zerosnet20_opt-digits-0 me/zerosnet20-digits
    """
    from stabzoo.cli.deploy.publish import publish_trained

    publish_trained(run, repository, folder=folder, private=private)
