"""What differs between two environments, and whether a timing of them isolates one cause."""

import pytest

from stages.harness.comparison.profile_diff import causes, differences, isolation
from tests.environments import GIB, facts, gpu, hardware

T4 = gpu("Tesla T4", compute_capability="7.5", memory_bytes=15 * GIB, power_limit_watts=70.0)
P100 = gpu("Tesla P100-PCIE-16GB", compute_capability="6.0", memory_bytes=16 * GIB, power_limit_watts=250.0)
K80 = gpu("Tesla K80", compute_capability="3.7", memory_bytes=11 * GIB)


def on_gpu(name="cuda-10.0", **known):
    return facts(name, hardware(T4), **{"device": T4.name, **known})


def rows(a, b):
    """what: (a, b, cause)."""
    return {each.what: (each.a, each.b, each.cause) for each in differences(a, b)}


def test_an_environment_does_not_differ_from_itself_by_whatever_name():
    assert differences(facts("one"), facts("two")) == ()
    assert isolation(()) == "Nothing differs that decides a timing."


def test_the_article_compared_several_things_at_once():
    kaggle = facts("kaggle", hardware(P100), device=P100.name, cuda="9.2.148", cudnn=7401)
    colab = facts("colab", hardware(K80), device=K80.name, cuda="10.0.130", cudnn=7500)
    found = differences(kaggle, colab)
    assert causes(found) == ("GPU", "CUDA", "cuDNN")
    sentence = "Several causes: GPU, CUDA, cuDNN. A timing of the two cannot say which of them it shows"
    assert isolation(found).startswith(sentence)
    assert [each.kind for each in found] == sorted(each.kind for each in found)  # hardware first
    assert rows(kaggle, colab)["cuDNN"] == ("7.4.1", "7.5.0", "cuDNN")


def test_what_it_should_have_compared_isolates_cuda():
    """This project's cuda-9.2 and cuda-10.0 on one machine."""
    old = {"torch": "1.2.0+cu92", "cuda": "9.2.148", "packages": {"torch": "1.2.0+cu92", "torchvision": "0.4.0+cu92"}}
    a = on_gpu("cuda-9.2", cuda_architectures=("sm_35", "sm_70"), **old)
    b = on_gpu("cuda-10.0", packages={"torch": "1.2.0", "torchvision": "0.4.0"})
    found = differences(a, b)
    assert {each.what for each in found} == {"CUDA", "compiled for", "torch's build", "torchvision"}
    assert causes(found) == ("CUDA",)
    assert isolation(found) == "One cause: a timing of the two shows what CUDA does."


def test_todays_cuda_brings_packages_of_other_names_along():
    old = {"cuda": "12.6", "torch": "2.14.1+cu126", "cudnn": 92400}
    new = {"cuda": "13.0", "torch": "2.14.1+cu130", "cudnn": 92400}
    old["packages"] = {"nvidia-cudnn-cu12": "9.24.0.43", "nvidia-cublas-cu12": "12.6.4.1", "triton": "3.8.0"}
    new["packages"] = {"nvidia-cudnn-cu13": "9.24.0.43", "nvidia-cublas": "13.1.1.3", "triton": "3.8.0"}
    found = differences(on_gpu(**old), on_gpu(**new))
    assert len(found) == 6 and causes(found) == ("CUDA",)
    found = differences(on_gpu(**old), on_gpu(**{**new, "cudnn": 92500}))
    assert causes(found) == ("CUDA", "cuDNN")
    assert causes(differences(facts(**old), facts(**new))) == ("torch's build",)  # on a CPU nothing of CUDA runs


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"torch": "1.3.0", "cuda": "10.1.243", "cudnn": 7605, "nccl": "2.4.8"}, ("torch",)),
        ({"cudnn": 7605}, ("torch's build",)),
        ({"packages": {"nvidia-cudnn-cu12": "9.24.0.43", "nvidia-ml-py": "13"}}, ("torch's build", "nvidia-ml-py")),
        ({"torch": "1.2.0+cpu", "cuda": None, "cudnn": None, "nccl": None}, ("torch's build",)),
    ],
)
def test_on_a_cpu_nothing_that_runs_on_gpus_alone_is_a_cause(change, expected):
    plain = {"nccl": "2.4.2", "packages": {"nvidia-cudnn-cu12": "9.10.0.1", "nvidia-ml-py": "12"}}
    found = differences(facts(**plain), facts(**{**plain, **change}))
    assert causes(found) == expected
    assert {each.what for each in found} & {"cuDNN", "nvidia-cudnn-cu12"}, "it is listed all the same"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"torch": "1.3.0", "packages": {"torchvision": "0.4.1"}, "nccl": "2.4.8"}, ("torch",)),
        ({"packages": {"torchvision": "0.4.1"}}, ("torchvision",)),
        ({"torch": "1.2.0+cu92"}, ("torch's build",)),  # of the same CUDA
        ({"packages": {"pillow-simd": "6.0.0"}}, ("pillow-simd",)),
        ({"torch": None, "cuda": None, "cudnn": None}, ("CUDA", "cuDNN", "torch")),  # known to be without it
        ({"packages": {"fastprogress": "1.0.5"}}, ("fastprogress",)),
        ({"packages": {"numpy": "1.17.5", "nvidia-ml-py": "12.5"}}, ("numpy", "nvidia-ml-py")),
        ({"packages": {"pip": "24.0", "setuptools": "68.0"}}, ()),
        ({"cuda": None}, ("CUDA",)),  # a build without CUDA is known to have none
        ({"os": "Ubuntu 24.04", "glibc": "2.39"}, ("operating system",)),
    ],
)
def test_software_that_comes_along_is_no_cause_of_its_own(change, expected):
    plain = {"nccl": "2.4.2", "cuda_architectures": ()}
    assert causes(differences(on_gpu(**plain), on_gpu(**{**plain, **change}))) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"cpuset": "0", "usable_cpus": 1.0}, ("CPU limit",)),
        ({"cpu_quota": 1.5, "usable_cpus": 1.5}, ("CPU limit",)),
        ({"memory_bytes": 4 * GIB}, ("memory",)),
        ({"memory_limit": 4 * GIB}, ("memory limit",)),
        ({"model": "Intel Xeon", "logical_cpus": 4, "cpuset": "0-3", "usable_cpus": 4.0, "isa": ()}, ("CPU",)),
        ({"shm_bytes": 64 * 2**20, "cgroup_version": 1}, ()),
        ({"kind": "rotating"}, ("disk",)),
        ({"kernel": "6.2.0"}, ("kernel",)),
    ],
)
def test_hardware_and_limits(change, expected):
    assert causes(differences(facts(), facts(on=hardware(**change)))) == expected


def test_threads_follow_a_cpu_limit_but_stand_alone_without_one():
    one = hardware(cpuset="0", usable_cpus=1.0)
    assert causes(differences(facts(), facts(on=one, torch_threads=1))) == ("CPU limit",)
    assert causes(differences(facts(), facts(torch_threads=1))) == ("torch's threads",)


def test_a_card_with_another_power_limit_is_another_setting_of_the_same_card():
    capped = gpu("Tesla T4", compute_capability="7.5", memory_bytes=15 * GIB, power_limit_watts=50.0)
    found = differences(facts(on=hardware(T4)), facts(on=hardware(capped)))
    assert [(each.what, each.a, each.b, each.cause) for each in found] == [
        ("GPU power limit", "70 W", "50 W", "GPU settings")
    ]
    assert causes(differences(facts(on=hardware(T4)), facts(on=hardware(P100)))) == ("GPU",)


def test_another_number_of_cards():
    found = rows(facts(on=hardware(T4)), facts(on=hardware(T4, T4)))
    assert found == {"GPUs": ("Tesla T4", "Tesla T4, Tesla T4", "GPU")}
    none = rows(facts(on=hardware(T4), device="Tesla T4"), facts())
    assert none["GPUs"] == ("Tesla T4", "none", "GPU")
    assert none["trains on"] == ("Tesla T4", "cpu", "GPU")


def test_of_several_cards_the_one_that_differs_is_told():
    found = rows(facts(on=hardware(T4, T4)), facts(on=hardware(T4, P100)))
    assert found["GPU 1"] == ("Tesla T4", "Tesla P100-PCIE-16GB", "GPU")
    assert not [what for what in found if what.startswith("GPU 0")]


def test_what_is_unknown_on_one_side_is_shown_and_not_counted():
    found = differences(facts(on=hardware(model=None)), facts())
    assert [(each.what, each.a, each.b, each.cause) for each in found] == [("CPU", "unknown", "AMD EPYC 7B12", "")]
    assert "as far as is known; 1 unknown on one side." in isolation(found)


def test_amounts_are_shown_with_their_binary_unit():
    assert rows(facts(), facts(on=hardware(total_bytes=50 * GIB)))["disk size"][:2] == ("100 GiB", "50 GiB")


def test_many_causes_are_counted_not_listed():
    old, new = ({f"package-{index:02}": version for index in range(20)} for version in "12")
    assert "package-07 and 12 more." in isolation(differences(facts(packages=old), facts(packages=new)))


def test_many_packages_that_one_side_has_alone_are_told_together():
    more = {f"package-{index:02}": "1" for index in range(20)}
    [found] = differences(facts(packages={**more, "numpy": "1"}), facts(packages={"numpy": "1"}))
    assert (found.what, found.b, found.cause) == ("packages on one side alone", "none", "packages on one side alone")
    assert found.a.startswith("package-00 1, package-01 1, ") and found.a.endswith(" and 12 more")


def test_what_a_cuda_build_was_compiled_for_may_be_unknown():
    a, b = on_gpu(cuda_architectures=()), on_gpu(cuda_architectures=("sm_70",))
    assert rows(a, b) == {"compiled for": ("unknown", "sm_70", "")}
    without = on_gpu(cuda=None, cuda_architectures=())
    assert rows(without, b)["compiled for"] == ("none", "sm_70", "CUDA")
