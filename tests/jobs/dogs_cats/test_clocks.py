from jobs.dogs_cats.clocks import EpochTimer


def test_an_epoch_is_the_whole_of_it_and_its_steps_end_where_training_ends():
    readings = iter([10.0, 14.0, 15.5, 20.0, 22.0, 23.0])
    timer = EpochTimer("frozen", clock=lambda: next(readings))
    for _ in range(2):
        timer.begin()
        timer.trained()
        timer.end(samples=64, train_loss=0.5, valid_loss=0.4, accuracy=0.9)
    first, second = timer.spans
    assert (first.seconds, first.split.seconds) == (5.5, 4.0)
    assert (second.seconds, second.split.seconds) == (3.0, 2.0)
    assert first.values == {"train_loss": 0.5, "valid_loss": 0.4, "accuracy": 0.9} and first.samples == 64


def test_the_log_counts_epochs_that_were_trained_before(capsys):
    timer = EpochTimer("unfrozen", done=2)
    timer.begin()
    timer.trained()
    timer.end(samples=64, train_loss=0.5, valid_loss=0.4, accuracy=0.9)
    assert capsys.readouterr().out.startswith("unfrozen epoch 3: ")
