"""Judge the shipped model on the 40 sample cells, every figure with its 95 % interval."""

import cellnet

report = cellnet.evaluate(cellnet.load_pretrained(), cellnet.samples())
print(report)
print("accuracy:", report.accuracy, " recall of ig:", report.per_class["ig"]["recall"])
print("most confused:", report.most_confused(3))
report.save("runs/report")  # report.html opens anywhere
