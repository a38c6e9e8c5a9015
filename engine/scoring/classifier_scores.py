"""Scores of a classifier, with error bars over images, beside its baselines."""

import hashlib
from pathlib import Path

import cv2
import numpy as np

from data_pipeline.batches import named_files
from data_pipeline.command import UserError
from data_pipeline.files import write_csv, write_json
from data_pipeline.labels import Photo
from data_pipeline.loader import PhotoLoader, resize_image
from data_pipeline.photo_batches import held_out_photos
from engine.predictor import softmax
from engine.run import Run

from . import calibration
from .evaluation import Evaluation, alike
from .scores import judge, number
from .task import LABELS
from .verdict import brackets, show

TOP = (3, 5)  # the true class among so many likeliest ones, where there are more classes
THUMBNAIL = 6  # pixels of each side that the colour-only baseline sees of an image
LEVELS = 8  # of a colour's histogram


def evaluate_photos(run: Run, photos: list[Photo], batch_size: int = 16) -> Evaluation:
    """Count what a run's classifier, and its baselines, answer for some photos.

    counts: "confusion", one 1 for each photo, int32 (N, C, C), and "probabilities", float32 (N, C).
    """
    names, labels = tuple(run.dataset["classes"]), np.array([photo.label for photo in photos])
    probabilities = predict(run, photos, batch_size)
    ways = {"majority_class": np.full(len(photos), majority(run))}
    if all(photo.image.is_file() for photo in run.split.train):
        ways["color_forest"] = ColorForest(run)(photos)
    else:
        print(f"note: the training images are no longer in {run.root}, so there is no colour forest")
    return Evaluation(
        names=names,
        stems=[photo.stem for photo in photos],
        groups=[photo.group for photo in photos],
        truths=[hashlib.sha256(f"{names[label]}".encode()).hexdigest()[:16] for label in labels],
        counts={
            "confusion": one_hot(labels, probabilities.argmax(-1), len(names)),
            "probabilities": probabilities,
        },
        beside={"baselines": {name: one_hot(labels, answers, len(names)) for name, answers in ways.items()}},
        doubts=[],
    )


def predict(run: Run, photos: list[Photo], batch_size: int) -> np.ndarray:
    """Probabilities float32 (N, C)."""
    model = run.model()
    loader = PhotoLoader(photos, None, run.frame.size, limit=0, tile=run.config["tile"])
    batches = held_out_photos(loader, batch_size)
    with named_files():
        probabilities = np.concatenate([softmax(model(images, training=False).numpy()) for images, _ in batches])
    if not np.isfinite(probabilities).all():
        raise UserError(f"{run.model_path}: damaged: its answer is no number")
    return probabilities


def one_hot(labels: np.ndarray, answers: np.ndarray, num_classes: int) -> np.ndarray:
    """A confusion matrix for each image, int32 (N, C, C), with a single 1."""
    matrices = np.zeros((len(labels), num_classes, num_classes), np.int32)
    matrices[np.arange(len(labels)), labels, answers] = 1
    return matrices


def majority(run: Run) -> int:
    counts = list(run.dataset["class_counts"].values())
    return counts.index(max(counts))


class ColorForest:
    """A baseline without a network: a random forest on a tiny copy of each image and the histograms of its colours."""

    def __init__(self, run: Run):
        from sklearn.ensemble import RandomForestClassifier

        self.run = run
        self.forest = RandomForestClassifier(
            n_estimators=200, min_samples_leaf=2, n_jobs=-1, random_state=run.config["seed"]
        )
        self.forest.fit(self.features(run.split.train), [photo.label for photo in run.split.train])

    def __call__(self, photos: list[Photo]) -> np.ndarray:
        """Their classes, int (N,)."""
        return self.forest.predict(self.features(photos))

    def features(self, photos: list[Photo]) -> np.ndarray:
        """float32 (N, F)."""
        load = PhotoLoader(photos, None, None, limit=0, tile=self.run.config["tile"])
        return np.stack([self.of_image(self.run.pixel_range.unit(load(i)[0])) for i in range(len(photos))])

    @staticmethod
    def of_image(unit: np.ndarray) -> np.ndarray:
        unit = np.clip(unit, 0, 1).astype(np.float32)
        histograms = [np.histogram(unit[..., c], LEVELS, (0, 1))[0] / unit[..., c].size for c in range(unit.shape[2])]
        return np.concatenate([resize_image(unit, (THUMBNAIL, THUMBNAIL)).ravel(), *histograms])


def results_of(evaluation: Evaluation, about: dict) -> dict:
    """Return the content of a classifier's metrics.json.

    Args:
        evaluation: of ``evaluate_photos``.
        about: the head: which split of which data.
    """
    matrices, groups = evaluation.counts["confusion"], evaluation.groups
    return {
        **about,
        "num_images": len(evaluation.stems),
        **judge(matrices, evaluation.beside, groups, evaluation.names, LABELS),
        **top(evaluation),
        "neighbours_alike": None
        if any(groups)
        else alike(evaluation.stems, LABELS.headline(matrices), matrices.sum(2).argmax(1)),
        **certainty(evaluation),
    }


def top(evaluation: Evaluation) -> dict[str, float]:
    """Return how often the true class is among the k that are thought likeliest; for each k below the number of
    classes."""
    labels = evaluation.counts["confusion"].sum(2).argmax(1)
    order = np.argsort(-evaluation.counts["probabilities"], axis=1, kind="stable")
    place = (order == labels[:, None]).argmax(1)
    return {f"top_{k}": float((place < k).mean()) for k in TOP if k < len(evaluation.names)}


def certainty(evaluation: Evaluation) -> dict:
    """Calibration of the probabilities: reliability curve and expected calibration error."""
    labels = evaluation.counts["confusion"].sum(2).argmax(1)
    counts = calibration.decision_counts(evaluation.counts["probabilities"], labels)
    return {
        "ece": number(calibration.expected_calibration_error(counts)),
        "reliability": calibration.reliability(counts),
    }


def table(results: dict) -> str:
    """The scores as lines of text, 95% intervals in brackets."""
    lines = [f"{'':16}{'accuracy':>10}{'':16}{'balanced':>10}{'macro-F1':>10}"]
    lines += [
        f"{name:16}{show(scores['accuracy']):>10}{brackets(scores.get('accuracy_ci95')):16}"
        f"{show(scores['balanced_accuracy']):>10}{show(scores['macro_f1']):>10}"
        for name, scores in [("network", results), *results["baselines"].items()]
    ]
    lines += ["", f"{'class':24}{'images':>8}{'recall':>10}{'':16}{'precision':>10}"]
    for name, count in results["images_with"].items():
        lines.append(
            f"{name:24}{count:8}{show(results['recall'][name]):>10}{brackets(results['recall_ci95'][name]):16}"
            f"{show(results['precision'][name]):>10}"
        )
    notes = [results["accuracy_ci95_note"], *results["recall_ci95_note"].values()]
    return "\n".join(line.rstrip() for line in [*lines, *(f"note: {note}" for note in dict.fromkeys(notes) if note)])


def write_evaluation(folder: Path, evaluation: Evaluation, results: dict) -> None:
    """metrics.json, per_image.csv and the counts."""
    write_json(folder / "metrics.json", results)
    write_csv(folder / "per_image.csv", per_image_rows(evaluation))
    evaluation.save(folder)


def per_image_rows(evaluation: Evaluation) -> list[dict]:
    """Rows of per_image.csv: each image's true class, the predicted one, and its probability."""
    matrices, probabilities = evaluation.counts["confusion"], evaluation.counts["probabilities"]
    rows = []
    for i, stem in enumerate(evaluation.stems):
        truth, answer = np.argwhere(matrices[i])[0]
        rows.append(
            {
                "stem": stem,
                "group": evaluation.groups[i] or "",
                "truth": evaluation.names[truth],
                "prediction": evaluation.names[answer],
                "right": int(truth == answer),
                "confidence": round(float(probabilities[i, answer]), 4),
            }
            | {f"p_{name}": round(float(p), 4) for name, p in zip(evaluation.names, probabilities[i], strict=True)}
        )
    return rows


def activation_maps(run: Run, photos: list[Photo], classes: list[int]):
    """Grad-CAM, photo by photo: (image uint8 (H, W, 3) as the network sees it, heat float32 (H, W), 0 to 1).

    Selvaraju et al. 2017 (arXiv 1610.02391), section 3: the last maps, weighted by the gradient of the class's logit
    and rectified. Where average pooling and a dense layer follow, as here, that gradient is the layer's own weights,
    and the map is the class activation map of Zhou et al. 2016 (arXiv 1512.04150).

    Args:
        run: of a classifier.
        photos: to explain.
        classes: of each, the class that is asked about.
    """
    import keras

    model = run.model()
    maps = keras.Model(model.input, model.get_layer("pool").input)
    kernel = model.get_layer("logits").kernel.numpy()  # (F, C)
    load = PhotoLoader(photos, None, run.frame.size, limit=0, tile=run.config["tile"])
    for index, label in enumerate(classes):
        image = load(index)[0]
        heat = np.maximum(maps(image[None], training=False).numpy()[0].astype(np.float32) @ kernel[:, label], 0)
        heat = cv2.resize(heat, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        yield run.pixel_range.show(image), heat / max(float(heat.max()), 1e-9)
